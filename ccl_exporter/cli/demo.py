"""`demo`: the live page and the metrics of a simulated charger."""

from pathlib import Path
from tempfile import TemporaryDirectory

from ccl_exporter.cli.serve import LISTEN, Format, Level, log_to_stderr, run_service
from ccl_exporter.cli.shared import LifeOption, Listen, Speed, program_for_others
from ccl_exporter.exporter.service import Options
from ccl_exporter.settings import listen_address
from ccl_exporter.simulator import Simulator


def demo(
    listen: Listen = LISTEN,
    speed: Speed = 1.0,
    life: LifeOption = "busy",
    level: Level = "info",
    format: Format = "logfmt",
) -> None:
    """Serve the metrics of a simulated charger: a vehicle comes, charges and leaves, again and again.

    \b
    Example:
      ccl-exporter demo
    """
    log_to_stderr(level, format)
    options = Options(listen_address(listen), program=program_for_others())
    # The session log of the page; made-up sessions have no place beside real ones.
    with TemporaryDirectory() as state, Simulator(speed=speed, life=life) as simulator:
        run_service(simulator.url, None, options, Path(state))
