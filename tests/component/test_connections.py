"""Who has hung up is not answered: an answer that nobody waits for would hold up those who do."""

import socket
from collections.abc import Iterable

import pytest

from ccl_exporter.exporter.web.server import Connection, WebServer


@pytest.mark.parametrize(("hangs_up", "answered"), [(False, ["/metrics"]), (True, [])], ids=["waits", "hung up"])
def test_only_who_still_waits_is_answered(hangs_up: bool, answered: list[str]) -> None:
    asked: list[str] = []

    def app(environ: dict[str, str], start_response: object) -> Iterable[bytes]:
        asked.append(environ["PATH_INFO"])
        assert callable(start_response)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    server = WebServer(("127.0.0.1", 0), app)
    server.prepare()
    ours, theirs = socket.socketpair()
    with theirs, ours:
        theirs.sendall(b"GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n")
        if hangs_up:
            theirs.close()
        connection = Connection(server, ours)
        connection.communicate()
        connection.close()
    server.stop()

    assert asked == answered


def test_what_could_not_be_sent_goes_with_the_connection() -> None:
    """Python 3.13 would try to send it once more whenever it frees it, and tell of the error."""
    server = WebServer(("127.0.0.1", 0), lambda *_: [])
    ours, theirs = socket.socketpair()
    connection = Connection(server, ours)
    theirs.close()
    with pytest.raises(OSError, match="Broken pipe"):
        connection.wfile.write(b"an answer")
    connection.close()

    assert connection.wfile.closed
