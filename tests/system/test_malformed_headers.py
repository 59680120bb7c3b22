"""A line among the headers that is none: what comes with it is used, and no library logs it, nor a secret."""

import http.client
import re
import threading
from pathlib import Path
from urllib.request import urlopen

from helpers.raw_server import PATIENCE, Peer, serving, with_body
from helpers.support import Start

from ccl_exporter.simulator import Simulator

SECRET = "hunter-4711"  # noqa: S105 - nobody's
MALFORMED = b"this is no header"


def test_a_malformed_header_is_neither_a_fault_nor_logged(
    wallbox: Simulator, start: Start, tmp_path: Path
) -> None:
    enough = {name: threading.Semaphore(0) for name in ("inventory", "database")}

    def charger(peer: Peer) -> None:
        engine = http.client.HTTPConnection("127.0.0.1", wallbox.port, timeout=PATIENCE)
        while (head := peer.request()) is not None:
            engine.request("GET", head.split()[1].decode())
            answer = engine.getresponse()
            peer.send(with_body(answer.read(), MALFORMED, status=b"%d Word" % answer.status))
        engine.close()

    def inventory(peer: Peer) -> None:
        while peer.request() is not None:
            peer.send(with_body(f"garage: {{url: '{behind.url}'}}\n".encode(), MALFORMED))
            enough["inventory"].release()

    def database(peer: Peer) -> None:
        # The length of the body is among the headers of the request.
        while (head := peer.request()) is not None:
            left = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
            while left > 0 and (taken := peer.take(left)):
                left -= taken
            peer.send(with_body(b"", MALFORMED, status=b"204 No Content"))
            enough["database"].release()

    with serving(charger) as behind, serving(inventory) as source, serving(database) as sink:
        config = tmp_path / "ccl.yaml"
        config.write_text(
            f"chargers_from: {{url: '{source.url}/x?token={SECRET}', interval: 1s}}\n"
            f"influxdb: [{{url: '{sink.url}', version: 2, org: me, bucket: x, token: {SECRET}, interval: 1s}}]\n"
        )
        process = start("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0")
        url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]
        for _ in range(3):
            assert all(semaphore.acquire(timeout=PATIENCE) for semaphore in enough.values())
        with urlopen(f"{url}/probe?target=garage", timeout=PATIENCE) as answer:
            text = answer.read().decode()
        assert process.stop() == 0

    assert re.search(r"^ccl_up 1(\.0)?$", text, flags=re.MULTILINE)
    assert [line for line in process.log if "level=info" not in line and "as root" not in line] == []
    assert [line for line in process.log if SECRET in line] == []
