"""The running exporter: a charger, its samples, the server; started and stopped together."""

import logging
import platform
import threading
from collections.abc import Sequence

from cheroot.wsgi import Server
from prometheus_client import PLATFORM_COLLECTOR, PROCESS_COLLECTOR

from ccl_exporter import __version__
from ccl_exporter.charger import Charger
from ccl_exporter.errors import UsageError
from ccl_exporter.families import FAMILIES
from ccl_exporter.model import Family, Sample
from ccl_exporter.samples import samples
from ccl_exporter.settings import ChargerSettings, ListenAddress
from ccl_exporter.sinks.prometheus import exposition
from ccl_exporter.web.app import App

log = logging.getLogger(__name__)

BUILD_INFO = Family(
    "ccl_exporter_build_info",
    "info",
    "Version of this exporter and of the Python that runs it.",
    ("python", "version"),
)


class Service:
    """Serves the metrics of one charger until it is stopped. The charger is first asked when a scrape comes."""

    def __init__(self, address: ChargerSettings, listen: ListenAddress) -> None:
        self._charger = Charger(address.name, address.url, address.credentials)
        self._moves = _Moves(address.name)
        self._server = Server(
            (listen.host, listen.port),
            App(self.metrics, __version__),
            numthreads=8,
            server_name="ccl-exporter",
            request_queue_size=64,
            timeout=10,
            shutdown_timeout=2,
        )
        self._server.max_request_header_size = 16 * 1024
        self._server.max_request_body_size = 16 * 1024

    def metrics(self, timeout: float, accept: str) -> tuple[bytes, str]:
        """Read the charger and write down what it says, and the exporter's own metrics behind."""
        found = samples(self._charger.read(timeout))
        self._moves.watch(found)
        found.append(Sample(BUILD_INFO, (platform.python_version(), __version__), 1.0))
        return exposition(found, (*FAMILIES, BUILD_INFO), accept, (PROCESS_COLLECTOR, PLATFORM_COLLECTOR))

    def bind(self) -> str:
        """Begin to listen and return the URL; raises `UsageError` if the address cannot be had."""
        try:
            self._server.prepare()
        except OSError as error:
            raise UsageError(f"cannot listen: {error.strerror or error}") from error
        host, port = self._server.bind_addr[:2]
        return f"http://[{host}]:{port}" if ":" in str(host) else f"http://{host}:{port}"

    def run(self) -> None:
        """Answer until `stop` is called."""
        self._server.serve()

    def stop(self) -> None:
        self._server.stop()
        self._charger.close()


class _Moves:
    """Says so when a variable moves to another family: its unit became known, or the engine changed its mind."""

    def __init__(self, charger: str) -> None:
        self._charger = charger
        self._families: dict[tuple[str, ...], str] = {}
        self._lock = threading.Lock()

    def watch(self, found: Sequence[Sample]) -> None:
        with self._lock:
            for sample in found:
                name = sample.family.name
                if len(sample.labels) == 2 and name.startswith("ccl_variable_"):
                    before = self._families.setdefault(sample.labels, name)
                    if before != name:
                        self._families[sample.labels] = name
                        log.warning(
                            "%s: %s is %s now, was %s", self._charger, ".".join(sample.labels), name, before
                        )
