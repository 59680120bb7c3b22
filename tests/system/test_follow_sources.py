"""Where the input of a follower comes from: standard input, a query, a topic."""

import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from time import time

from helpers.brokers import Broker, running
from helpers.following import TO_BE, follow, limit_to, reduction
from helpers.support import COMMAND, Start
from paho.mqtt.publish import single

from ccl_exporter.simulator import Simulator


def test_standard_input_is_followed_until_it_ends(charging: Simulator) -> None:
    arguments = ["--stdin", "--input", "available", "--unit", "kW", "-c", charging.url]
    done = subprocess.run(
        [str(COMMAND), "charge", "follow", *arguments],
        input="nonsense\n3.0\n",
        capture_output=True,
        text=True,
        check=True,
    )

    assert re.search(TO_BE, done.stdout)
    assert "the input has ended" in done.stderr
    assert reduction(charging) == 0


def test_a_line_in_another_encoding_is_no_number_and_the_next_one_is(charging: Simulator) -> None:
    done = subprocess.run(
        [str(COMMAND), "charge", "follow", "--stdin", "--input", "available", "-c", charging.url],
        input=b"21\xb0C\n3000\n",
        capture_output=True,
        timeout=60,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8:strict"},
    )

    assert re.search(TO_BE.encode(), done.stdout)
    assert b"the input has ended" in done.stderr


def test_a_feed_that_breaks_off_ends_the_command_and_leaves_a_current(charging: Simulator) -> None:
    limit_to(charging, 90.0)
    done = subprocess.run(
        # A query that is no text cannot be sent.
        [str(COMMAND), "charge", "follow", "--query", b"\xff", "-c", charging.url],
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )

    assert (done.returncode, reduction(charging)) == (1, 0)
    assert b"the input has ended by an error of this program" in done.stderr


def test_a_query_is_followed_by_the_date_of_its_sample(charging: Simulator, start: Start, tmp_path: Path) -> None:
    asked: list[str] = []

    class Prometheus(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            values = [[time() - 1, "3000"]] if len(asked) < 4 else [[time() - 90, "3000"]]
            data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}
            body = json.dumps({"status": "success", "data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Prometheus) as answering:
        thread = threading.Thread(target=answering.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{answering.server_port}"
            flags = ("--query", "free_watts[1m]", "--prometheus.url", url, "--interval", "1s", "--stale", "5s")
            process = follow(start, charging, *flags)
            assert float(process.line(TO_BE)[1]) > 11
            process.line("stale: ")
        finally:
            answering.shutdown()
            thread.join()

    assert asked[0] == "/api/v1/query?query=free_watts%5B1m%5D"


def test_a_topic_is_followed_but_not_what_a_broker_retained(
    charging: Simulator, start: Start, tmp_path: Path
) -> None:
    with running(Broker(tmp_path / "broker")) as broker:
        at = {"hostname": "127.0.0.1", "port": broker.port}
        single("house/power", '{"power": 7000}', retain=True, **at)  # type: ignore[arg-type] # host and port
        url = f"mqtt://127.0.0.1:{broker.port}"
        process = follow(start, charging, "--topic", "house/power", "--field", "power", "--broker", url)
        process.line("stale: ")
        limit = None
        while limit is None or limit == 0:
            single("house/power", '{"power": 3000}', **at)  # type: ignore[arg-type] # host and port
            found = re.search(TO_BE, process.process.stdout.readline())  # type: ignore[union-attr] # a pipe
            limit = float(found[1]) if found else None
            if limit == 0:
                break

    assert limit == 0, "the age of a retained message is unknown, so the current is safe first"
