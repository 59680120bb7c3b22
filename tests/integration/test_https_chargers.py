"""A charger behind https is read if the system trusts its certificate, and only then."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from time import monotonic

import pytest
import trustme

from ccl_exporter.errors import Unreachable
from ccl_exporter.powerstudio.transport import Transport

PATIENCE = 10.0


class Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"<path>{self.path}</path>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def url(authority: trustme.CA) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Engine)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/powerstudio"
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_is_read_if_the_system_trusts_who_signed(
    url: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    transport = Transport(url)
    try:
        assert (
            transport.get("services/a.xml", monotonic() + PATIENCE) == b"<path>/powerstudio/services/a.xml</path>"
        )
    finally:
        transport.close()


def test_it_is_not_read_otherwise_and_the_reason_is_said(url: str) -> None:
    transport = Transport(url)
    try:
        with pytest.raises(Unreachable, match=r"^the certificate of 127\.0\.0\.1 is not trusted: .*certificate"):
            transport.get("services/a.xml", monotonic() + PATIENCE)
    finally:
        transport.close()
