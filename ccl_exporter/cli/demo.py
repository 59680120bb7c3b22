"""`demo`: the metrics of a simulated charger."""

from ccl_exporter.cli.serve import LISTEN, Format, Level, log_to_stderr, run_service
from ccl_exporter.cli.shared import Listen, Speed
from ccl_exporter.exporter.service import Options
from ccl_exporter.settings import listen_address
from ccl_exporter.simulator import Simulator


def demo(
    listen: Listen = LISTEN,
    speed: Speed = 1.0,
    level: Level = "info",
    format: Format = "logfmt",
) -> None:
    """Serve the metrics of a simulated charger: a vehicle comes, charges and leaves, again and again."""
    log_to_stderr(level, format)
    options = Options(listen_address(listen))
    with Simulator(speed=speed) as simulator:
        # Nobody's charges: they have no place in a ledger.
        run_service(simulator.url, None, options, None)
