"""Runs within a machine of a test: simulated chargers, one for each thing that is tried, and a Prometheus that
has the import of the house. Prints a line when all of it listens."""

import json
import signal
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count

from ccl_exporter.simulator import Fault, Simulator

CHARGERS = {"garage": 8001, "night": 8002, "plan": 8003, "empty": 8004, "stubborn": 8005, "command": 8006}
PROMETHEUS = 9090
USERNAME, PASSWORD = "monitor", "s3cr3t"


def main() -> None:
    with ExitStack() as running:
        simulators = {
            name: running.enter_context(
                Simulator(
                    port=port,
                    seed=port,
                    autopilot=False,
                    username=USERNAME if name == "garage" else None,
                    password=PASSWORD if name == "garage" else None,
                )
            )
            for name, port in CHARGERS.items()
        }
        for name, simulator in simulators.items():
            if name != "empty":
                simulator.site.plugs[0].plug_in(50_000)
        for name in ("garage", "command", "plan"):
            simulators[name].site.plugs[0].authorise()
        simulators["stubborn"].faults = (Fault("ignore-writes"),)
        garage, noise = simulators["garage"].site, count()

        class Prometheus(BaseHTTPRequestHandler):
            """3 kW of sun are left besides the car."""

            def do_GET(self) -> None:
                with garage.present():
                    watts = garage.plugs[0].watts - 3000.0 + next(noise) % 7
                data = {"resultType": "vector", "result": [{"metric": {}, "value": [0, str(watts)]}]}
                body = json.dumps({"status": "success", "data": data}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        answering = running.enter_context(HTTPServer(("127.0.0.1", PROMETHEUS), Prometheus))
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        print("the site is ready", flush=True)  # noqa: T201 - the test waits for it
        with suppress(KeyboardInterrupt):
            answering.serve_forever()


if __name__ == "__main__":
    main()
