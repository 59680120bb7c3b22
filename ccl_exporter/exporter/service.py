"""The running exporter: chargers, their samples, the server; started, reloaded and stopped together."""

import logging
import platform
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING
from wsgiref.types import WSGIApplication

from prometheus_client import PLATFORM_COLLECTOR, PROCESS_COLLECTOR

from ccl_exporter import __version__, gc_tuning
from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.charger import Charger
from ccl_exporter.exporter.collector import Collector
from ccl_exporter.exporter.live_pages import LivePages
from ccl_exporter.exporter.own_reads import confirm_loop, fallback_interval, fallback_loop, inventory_loop
from ccl_exporter.exporter.poll_loop import PollLoops, Source
from ccl_exporter.exporter.recent_readings import RecentReadings
from ccl_exporter.exporter.target_registry import TargetRegistry
from ccl_exporter.exporter.web.app import App, HttpResponse, Scrape
from ccl_exporter.exporter.web.charger_json import TIMEOUT, charger_json
from ccl_exporter.exporter.web.security import WebSecurity
from ccl_exporter.exporter.web.server import LEAST_SCRAPES, MOST_SCRAPES, WebServer
from ccl_exporter.exporter.web.trusted_proxy import behind_proxy
from ccl_exporter.logs import logged
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.outputs.output import Output, OutputContext
from ccl_exporter.outputs.prometheus import exposition
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.sessions.store import SESSIONS_FILE
from ccl_exporter.settings import MODULES, ListenAddress, Settings
from ccl_exporter.text import count, url_host
from ccl_exporter.workers import Pool, Supervisor, Worker

if TYPE_CHECKING:
    from ccl_exporter.config.charger_source import ChargerInventory
    from ccl_exporter.config.document import Configuration

log = logging.getLogger(__name__)

_FIRST_TIDYING, _LONGEST_TIDYING = 60.0, 3600.0  # seconds

_UNUSABLE = "the inventory is invalid, the last one is kept: %s"
_LOOK_FOR_INVENTORY = 1.0  # seconds between two looks whether the second inventory is due
_STOP_WITHIN = 4.0


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line.

    A charger that nothing has read for `fallback_interval` seconds is read by the service itself; 0 is never,
    None is the default: 90 with exactly one configured charger, else never.
    `trusted_proxy` is the address of a proxy that alone is answered, and has logged in its users.
    `program` is this program as the live page writes it in commands.
    """

    listen: ListenAddress
    web_config: Path | None = None
    lifecycle: bool = False
    fail_on_down: bool = False
    allowed_hosts: frozenset[str] = frozenset()
    fallback_interval: float | None = None
    trusted_proxy: str | None = None
    program: str = "ccl-exporter"


class Service:
    """Serves the metrics of the configured chargers until it is stopped.

    A charger is first read by a scrape or the fallback poll.
    `load` reads the configuration again where there is a file.
    `state` is the folder of locks, of the session log, and of what waits for databases.
    """

    def __init__(
        self,
        settings: Settings,
        options: Options,
        state: Path | None,
        load: "Callable[[], Configuration] | None" = None,
        configuration: "Configuration | None" = None,
    ) -> None:
        self._options = options
        self._load = load
        self._configuration = configuration
        self._inventory = _inventory(configuration)
        self._state = state
        self._recorder = SessionRecorder(state / SESSIONS_FILE) if state is not None else None
        self._price_sessions(settings)
        self._registry = TargetRegistry(settings, state, self._recorder)
        recent = RecentReadings(lambda: self._registry.settings.chargers)
        self._collector = Collector(self._recorder, recent)
        self._supervisor = Supervisor()
        self._loops = PollLoops(Source(self._registry.chargers, self._collector.collect), self._supervisor)
        self._own_loops = (
            inventory_loop(Source(self._to_learn, self._collector.collect), self._is_read_at_start),
            confirm_loop(Source(self._registry.known, self._collector.collect)),
            fallback_loop(Source(self._registry.chargers, self._collector.collect), self._fallback_interval),
        )
        self._outputs_changing = threading.Lock()
        self._reloaded, self._reload_good = time(), True
        self._reloading = threading.Lock()
        self._settings_changing = threading.Lock()
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._stop_by = 0.0
        self._tidied, self._tidy_pause = monotonic(), _FIRST_TIDYING
        self._inventory_worker = Worker("inventory", self._refresh_inventory)
        self._pages = LivePages(
            self._registry, self._collector, recent, self._recorder, self._output_samples, options.program
        )
        self._security = WebSecurity(options.web_config)
        app: WSGIApplication = App(self, options.lifecycle, options.allowed_hosts)
        if options.trusted_proxy is not None:
            app = behind_proxy(app, options.trusted_proxy)
        self._server = WebServer(
            (options.listen.host, options.listen.port),
            self._security.wrap(app),
            numthreads=LEAST_SCRAPES,
            max=MOST_SCRAPES,
            server_name="ccl-exporter",
            request_queue_size=4096,
            timeout=10,
            shutdown_timeout=2,
        )
        self._server.max_request_header_size = 16 * 1024
        self._server.max_request_body_size = 16 * 1024
        self._server.ssl_adapter = self._security.ssl_adapter()

    # Start and stop

    def bind(self) -> str:
        """Begin to listen and return the URL; raises `UsageError` if that is not possible."""
        try:
            self._server.prepare()
        except OSError as error:
            raise self._options.listen.failure(error) from error
        host, port = self._server.bind_addr[:2]
        return f"{self._security.scheme}://{url_host(str(host))}:{port}"

    def run(self, each_second: Callable[[float, bool], None] = lambda now, healthy: None) -> None:
        """Answer until `stop` is called.

        `each_second` is called with the time in monotonic seconds and whether all workers are healthy.
        """

        def look() -> None:
            now = monotonic()
            self._tidy_memory(now)
            each_second(now, not self._supervisor.down(now))

        self._supervisor.start(look)
        members: list[Worker | Pool] = [self._inventory_worker, self._pages.readers]
        if self._recorder is not None:
            members.append(self._recorder.worker)
        for loop in self._own_loops:
            members += loop.members
        self._supervisor.add(*members)
        self._update_outputs()
        self._server.serve()
        self._ended.wait(max(self._stop_by - monotonic(), 0.0))

    def stop(self) -> None:
        """Answer the running requests, then end; `run` returns within four seconds."""
        self._stop_by = monotonic() + _STOP_WITHIN
        self._stopping.set()
        with self._outputs_changing:
            self._loops.stop()
        for loop in self._own_loops:
            loop.stop()
        self._supervisor.stop()
        if self._recorder is not None:
            self._recorder.close(self._stop_by)
        # Last, as it waits for every answer that is under way.
        self._server.stop()
        self._ended.set()

    def _is_read_at_start(self) -> bool:
        """Whether there is exactly one charger, and the service may read it by itself."""
        return len(self._registry.settings.chargers) == 1 and self._fallback_interval() > 0

    def _to_learn(self) -> Sequence[Charger]:
        """The chargers whose inventory may be read."""
        if self._is_read_at_start():
            self._registry.chargers()
        return self._registry.known()

    def _fallback_interval(self) -> float:
        """Seconds after which a charger that nothing reads is read; 0 is never."""
        return fallback_interval(self._options.fallback_interval, len(self._registry.settings.chargers))

    def _price_sessions(self, settings: Settings) -> None:
        if self._recorder is not None:
            self._recorder.tariff = settings.tariff

    def _update_outputs(self) -> None:
        """Write to the broker and the databases of the configuration, and to no others any more."""
        wanted: Mapping[object, Callable[[], Output]] = {}
        if self._registry.settings.outputs and self._state is not None:
            from ccl_exporter.config.document import open_output  # noqa: PLC0415 - only with a file

            context = OutputContext(self._state, self._recorder, self._urls)
            wanted = {entry: partial(open_output, entry, context) for entry in self._registry.settings.outputs}
        with self._outputs_changing:
            if not self._stopping.is_set():
                self._loops.update(wanted)

    def _knows_chargers(self) -> bool:
        """Whether the inventory, if there is one, was read since the start."""
        configuration, inventory = self._configuration, self._inventory
        return configuration is None or not configuration.pending or inventory is None or inventory.was_read

    def _urls(self) -> Mapping[str, str] | None:
        if not self._knows_chargers():
            return None
        return {name: charger.url for name, charger in self._registry.settings.chargers.items()}

    def _refresh_inventory(self, now: float) -> float:
        inventory = self._inventory
        if inventory is None:
            return _LOOK_FOR_INVENTORY
        before = inventory.error
        changed = inventory.refresh(now)
        with self._settings_changing:
            if self._inventory is not inventory:
                return 0.0  # What was read meanwhile belongs to a configuration that is not in force any more.
            if changed:
                self._registry.update(inventory.settings)
                gc_tuning.unfreeze()
                log.info("the inventory has changed: %s", count(len(inventory.settings.chargers), "charger"))
        if inventory.error is not None and before is None:
            log.warning(_UNUSABLE, inventory.error)
        elif inventory.error is None and before is not None:
            log.info("the inventory can be used again")
        return _LOOK_FOR_INVENTORY

    def _tidy_memory(self, now: float) -> None:
        """Forget chargers that are gone, and keep what lives long out of the garbage collector's sight.

        The pauses between grow to an hour.
        """
        if now - self._tidied >= self._tidy_pause:
            names = {charger.settings.name for charger in self._registry.known()}
            self._collector.forget_all_but(names | self._registry.settings.chargers.keys())
            gc_tuning.freeze_long_lived()
            self._tidied, self._tidy_pause = now, min(self._tidy_pause * 2, _LONGEST_TIDYING)

    # What the routes need

    def ready(self) -> bool:
        return not self._stopping.is_set()

    def down(self) -> Sequence[str]:
        """The workers that could not be restarted for two minutes."""
        return self._supervisor.down(monotonic())

    def targets(self) -> Sequence[tuple[str, Mapping[str, str]]] | None:
        if not self._knows_chargers():
            return None
        return [(name, charger.labels) for name, charger in self._registry.settings.chargers.items()]

    def config(self) -> str:
        if self._configuration is None:
            return "".join(f"charger: {charger.url}\n" for charger in self._registry.settings.chargers.values())
        return self._configuration.masked(self._registry.settings)

    def page(self, query: str, with_history: bool) -> bytes:
        return self._pages.front(query, with_history)

    def charger_page(self, name: str, query: str, with_history: bool) -> bytes | None:
        return self._pages.charger(name, query, with_history)

    def reload(self) -> None:
        """Read the configuration again; raises `UsageError` and keeps the old one if it has an error."""
        if self._load is None:
            log.warning("there is no configuration file to read again")
            raise UsageError("there is no configuration file to read again")
        with self._reloading:
            try:
                loaded = self._load()
            except UsageError as error:
                raise self._rejected(error) from error
            with self._settings_changing:
                try:
                    # Before its settings are taken: a first reading may end meanwhile.
                    is_known = self._knows_chargers()
                    # What the inventory said last may not have reached the registry yet.
                    last = self._inventory.settings if self._inventory is not None else self._registry.settings
                    configuration = loaded.after(self._configuration, last)
                except UsageError as error:
                    raise self._rejected(error) from error
                # The chargers of an inventory that was read before are known, though it cannot be read now.
                configuration = replace(configuration, pending=configuration.pending and not is_known)
                self._configuration, self._inventory = configuration, _inventory(configuration)
                self._registry.update(configuration.settings)
                self._price_sessions(configuration.settings)
            gc_tuning.unfreeze()
            self._update_outputs()
            self._reloaded, self._reload_good = time(), True
            chargers = count(len(configuration.settings.chargers), "charger")
            log.info("the configuration was read again: %s", chargers)

    def _rejected(self, error: UsageError) -> UsageError:
        self._reload_good = False
        log.warning("the configuration is invalid, the running one is kept: %s", error)
        return error

    def metrics(self, scrape: Scrape) -> HttpResponse:
        """The exporter's own metrics, and the charger's too when there is exactly one."""
        chargers = self._registry.chargers()
        found, up = self._read(chargers[0], scrape) if len(chargers) == 1 else ([], True)
        found = [*found, *self._own(chargers)]
        order = (*f.FAMILIES, *f.EXPORTER)
        body, kind = exposition(found, order, scrape.accept, (PROCESS_COLLECTOR, PLATFORM_COLLECTOR))
        return self._answer(body, kind, up)

    def probe(self, target: str, scrape: Scrape, debug: bool) -> HttpResponse:
        """The metrics of one charger; raises `UsageError` if it may not be read."""
        charger = self._registry.target(target)
        if debug:
            return self._debug(charger, scrape)
        found, up = self._read(charger, scrape)
        body, kind = exposition(found, f.FAMILIES, scrape.accept)
        return self._answer(body, kind, up)

    def charger_json(self, name: str, with_variables: bool) -> HttpResponse | None:
        """What is known of a charger of the configuration, as JSON."""
        charger = self._registry.named(name)
        if charger is None:
            return None
        modules = MODULES if with_variables else ("core",)
        snapshot, found = self._collector.collect(charger, TIMEOUT, modules)
        read_at = snapshot.taken if snapshot.up else charger.last_up_at
        settings = charger.settings
        body = charger_json(settings.name, settings.title or settings.name, read_at, snapshot.up, found, modules)
        return self._answer(body, "application/json", snapshot.up)

    def _answer(self, body: bytes, kind: str, up: bool) -> HttpResponse:
        failed = self._options.fail_on_down and not up
        return HttpResponse(body, kind, HTTPStatus.SERVICE_UNAVAILABLE if failed else HTTPStatus.OK)

    def _read(self, charger: Charger, scrape: Scrape) -> tuple[list[Sample], bool]:
        snapshot, found = self._collector.collect(charger, scrape.timeout, scrape.modules)
        return found, snapshot.up

    def _own(self, chargers: Sequence[Charger]) -> Iterator[Sample]:
        yield Sample(f.BUILD_INFO, (platform.python_version(), __version__), 1.0)
        yield Sample(f.RELOAD_SUCCESSFUL, (), float(self._reload_good))
        yield Sample(f.RELOAD_TIMESTAMP, (), self._reloaded)
        for charger in chargers:
            name, counts = (charger.settings.name,), charger.counts
            yield Sample(f.READS, name, float(counts.reads))
            yield Sample(f.FAILED_READS, name, float(counts.failed))
            yield Sample(f.SHARED_READINGS, name, float(counts.shared))
            yield Sample(f.SKIPPED_READS, name, float(counts.skipped))
            yield Sample(f.BACKOFF_UNTIL, name, counts.backoff_until)
        for worker, (is_up, restarts) in self._supervisor.states(monotonic()).items():
            yield Sample(f.WORKER_UP, (worker,), float(is_up))
            yield Sample(f.WORKER_RESTARTS, (worker,), float(restarts))
        yield from self._output_samples()

    def _output_samples(self) -> Iterator[Sample]:
        for output in self._loops.outputs():
            yield from output.samples()
        tariff = self._registry.settings.tariff
        if tariff is not None:
            now = time()
            yield Sample(f.TARIFF_PRICE, (tariff.currency,), tariff.price_at(now))
            yield Sample(f.TARIFF_CHEAP, (), float(tariff.holds(now)))

    def _debug(self, charger: Charger, scrape: Scrape) -> HttpResponse:
        """What a probe would say, with the log of it and the configuration, masked like everything else."""
        with logged() as lines:
            found, _ = self._read(charger, scrape)
        body, _ = exposition(found, f.FAMILIES, "")
        parts = ("Logs for the probe:", *lines, "", "Metrics that would have been returned:", body.decode())
        return HttpResponse("\n".join((*parts, "Configuration:", self.config())).encode())


def _inventory(configuration: "Configuration | None") -> "ChargerInventory | None":
    if configuration is None or configuration.source is None:
        return None
    from ccl_exporter.config.charger_source import ChargerInventory  # noqa: PLC0415 - only with a second inventory

    if configuration.source_error is not None:
        log.warning(_UNUSABLE, configuration.source_error)
    return ChargerInventory(configuration.source, configuration.settings, configuration.source_error)
