"""An engine behind TLS, as a gateway's proxy gives it: read as any other, trusted only when its certificate is."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
import trustme
from helpers.support import Start, scrape

from ccl_exporter.simulator.simulator import Simulator

PATIENCE = 60.0  # seconds until a test gives up


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return authority


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """The environment of a command whose system trusts the authority."""
    return {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}


@contextmanager
def behind_tls(authority: trustme.CA, talk: Callable[[ssl.SSLSocket], None]) -> Iterator[str]:
    """A TLS server on loopback whose connections are each talked to; its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.settimeout(PATIENCE)
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as secure:
                talk(secure)

    class Server(ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            raise AssertionError("a handler failed")

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"https://localhost:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def relay_to(simulator: Simulator, connections: list[int]) -> Callable[[ssl.SSLSocket], None]:
    """Hand on each request to a simulator and its answer back, as long as both are there."""

    def talk(secure: ssl.SSLSocket) -> None:
        connections.append(1)
        with socket.create_connection(("127.0.0.1", simulator.port), PATIENCE) as plain:

            def back() -> None:
                with suppress(OSError):
                    while part := plain.recv(65536):
                        secure.sendall(part)

            answering = threading.Thread(target=back)
            answering.start()
            while part := secure.recv(65536):
                plain.sendall(part)
            plain.shutdown(socket.SHUT_RDWR)
            answering.join()

    return talk


def test_an_engine_behind_tls_is_read_over_one_kept_connection(
    wallbox: Simulator, authority: trustme.CA, trusting: dict[str, str], start: Start
) -> None:
    connections: list[int] = []
    with behind_tls(authority, relay_to(wallbox, connections)) as url:
        exporter = start("serve", url, "--web.listen-address", "127.0.0.1:0", env=trusting)
        metrics = exporter.line(r"http://\S+/metrics")[0]
        first, second = scrape(metrics), scrape(metrics)

    assert first.get("ccl_up") == second.get("ccl_up") == 1
    assert connections == [1]


def test_an_engine_with_an_unknown_authority_is_not_read(
    wallbox: Simulator, authority: trustme.CA, start: Start
) -> None:
    with behind_tls(authority, relay_to(wallbox, [])) as url:
        command = start("get", "EVSE.PLUG.AE", "--charger", url)
        assert command.process.wait(PATIENCE) == 3

    assert "the certificate of localhost is not trusted" in "".join(command.log)
    assert not wallbox.requests


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"], ids=["head", "body"])
def test_a_byte_now_and_then_over_tls_is_not_waited_for_past_the_deadline(
    head: bytes, authority: trustme.CA, trusting: dict[str, str], start: Start
) -> None:
    gone = threading.Event()

    def drip(secure: ssl.SSLSocket) -> None:
        secure.recv(65536)
        try:
            secure.sendall(head or b"HTTP/1.1 200 OK\r\nX-")
            while not gone.wait(0.05):
                secure.sendall(b"x")
        except OSError:
            gone.set()

    with behind_tls(authority, drip) as url:
        command = start("get", "EVSE.PLUG.AE", "--charger", url, "--timeout", "1", env=trusting)
        try:
            assert command.process.wait(PATIENCE) == 3
        finally:
            gone.set()

    assert "no complete answer from localhost in time" in "".join(command.log)
