"""A charger, an exporter and a database live for some weeks, from one seed."""

import gc
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from shutil import copytree, rmtree

from ccl_exporter.sessions.store import SESSIONS_FILE
from ccl_exporter.settings import ChargerSettings, InfluxSettings, Settings, SpoolSettings
from ccl_exporter.simulator.physics import SimulatedPlug, State
from ccl_exporter.simulator.site import LivePlug
from simulation.charger import SimulatedCharger
from simulation.database import SimulatedDatabase
from simulation.exporter import Killed, SimulatedExporter, Threads
from simulation.faults import BESIDE, FAULTS, Script, other_settings
from simulation.simulated_time import SimulatedTime
from simulation.witness import LogWitness, Witness

BEGIN = 1_790_000_000.0
WEEK = 7 * 86_400.0
FAULTS_A_WEEK = 8
SELDOM, OFTEN = 300.0, 15.0
"""Seconds between two scrapes, and around a fault."""

_AROUND = 450.0
_QUIET_AFTER = 900.0
_REST = 4 * 3600.0
"""Seconds at the end in which nothing happens."""

_ALL_EVERY = 16
"""Every so many scrapes ask for all variables."""


class Life:
    """Plays it; raises `InvariantError` with a trace if an invariant does not hold."""

    def __init__(self, seed: int, weeks: int, folder: Path) -> None:
        random.seed(seed)  # for the pauses of senders
        self.random = random.Random(f"life {seed}")
        self.time = SimulatedTime(BEGIN)
        self.charger = SimulatedCharger(self.time, "twin" if seed % 4 == 3 else "wallbox", seed)
        self.witness = Witness(self.charger)
        influx = InfluxSettings(
            name="db", url="http://db:8086", version=1, database="ev", interval=900.0, modules=("core",),
            spool=SpoolSettings(Path("db.spool")),
        )  # fmt: skip
        self.settings = Settings({"garage": ChargerSettings("garage", "http://garage")}, outputs=(influx,))
        self.database = SimulatedDatabase(influx, seed, self.witness.look)
        self.threads = Threads()
        self.exporter: SimulatedExporter | None = None
        self.is_scraped = True
        self.reads = 0
        self._end = BEGIN + weeks * WEEK
        self._folders = (folder / f"state{number}" for number in count())
        self.folder = next(self._folders)
        self._queued: set[int] = set()
        self._dropped = 0.0
        self._unwritable = 0
        self._is_full = 0
        self._dishonest = 0
        self._active = 0
        self._changed = BEGIN
        self._scripts: list[tuple[float, int, Script]] = []
        self._number = count()
        self.start()
        for live, plug in zip(self.charger.site.plugs, self.charger.plugs, strict=True):
            self._play(self._cars(live, plug))
        self._play(self._faults())

    def run(self) -> tuple[int, int]:
        """Play to the end; how many objects lived after half of it and at the end."""
        handler = LogWitness(self.witness)
        logger = logging.getLogger("ccl_exporter")
        before, logger.propagate, level = logger.propagate, False, logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            middle = (BEGIN + self._end) / 2
            self._run_until(middle)
            half = _objects()
            self._run_until(self._end)
            self._check_end()
            return half, _objects()
        finally:
            logger.removeHandler(handler)
            logger.propagate = before
            logger.setLevel(level)
            if self.exporter is not None:
                self.exporter.close()

    def _run_until(self, end: float) -> None:
        read_at = self.time.now
        while True:
            soon = self.exporter.due_soon if self.exporter is not None else float("inf")
            first = self._scripts[0][0] if self._scripts else float("inf")
            at = min(first, read_at, soon)
            if at >= end:
                self.time.now = max(self.time.now, end)
                return
            self.time.now = max(self.time.now, at)
            try:
                self._act()
                if self.time.now >= read_at:
                    self._read()
                    read_at = self.time.now + (OFTEN if self.time.now - self._changed < _AROUND else SELDOM)
                elif self.time.now - self._changed < OFTEN:
                    read_at = min(read_at, self.time.now + OFTEN)
                if self.exporter is not None:
                    self.exporter.run_due()
            except Killed:
                self.kill()

    def _act(self) -> None:
        while self._scripts and self._scripts[0][0] <= self.time.now:
            _, _, script = heappop(self._scripts)
            with suppress(StopIteration):
                heappush(self._scripts, (self.time.now + next(script), next(self._number), script))
        self.charger.note_sessions()

    def _read(self) -> None:
        exporter = self.exporter
        if exporter is None or not self.is_scraped:
            return
        self.reads += 1
        quiet = not self._active and self.time.now - self._changed > _QUIET_AFTER
        everything = self.reads % _ALL_EVERY == 0
        snapshot, samples = exporter.scrape(("core", "variables") if everything else ("core",))
        sees_sessions = not self._dishonest and not self._unwritable
        self.witness.read(snapshot, samples, quiet, sees_sessions)

    def _play(self, script: Script) -> None:
        heappush(self._scripts, (self.time.now + next(script), next(self._number), script))

    # What scripts do

    def start(self) -> None:
        """Start the exporter."""
        if self.exporter is None:
            self.witness.note("start")
            self.charger.interrupt = self.database.interrupt = lambda: None
            self.exporter = SimulatedExporter(
                self.folder, self.charger, self.database, self.threads, self.settings, self._queued
            )
            self.exporter.is_full = self._is_full > 0

    def kill(self) -> None:
        """End the exporter as a kill does: what is on disk at this moment stays, whatever it does afterwards."""
        if self.exporter is None:
            return
        self.witness.note("kill")
        self.charger.interrupt = self.database.interrupt = lambda: None
        if self._unwritable or not self.exporter.recorder.worker.is_running:
            self.witness.forget_unwritten()
        if self._unwritable:
            self._gone()
            return
        old, self.folder = self.folder, next(self._folders)
        copytree(old, self.folder)
        self._gone()
        rmtree(old)

    def stop(self) -> None:
        """End the exporter in peace."""
        if self.exporter is not None:
            self.witness.note("stop")
            if self._unwritable:
                self.witness.forget_unwritten()
            self._gone()

    def _gone(self) -> None:
        assert self.exporter is not None
        self._dropped += self.exporter.pusher.dropped_later
        self.exporter.close()
        self.exporter = None
        self.witness.exporter_ended()

    def change_settings(self, output: bool = False) -> None:
        """Reload with other settings of the charger, and perhaps of the database."""
        (influx,) = self.settings.outputs
        assert isinstance(influx, InfluxSettings)
        (charger,) = self.settings.chargers.values()
        charger = replace(charger, timeout=None if charger.timeout else 8.0)
        if output:
            influx = other_settings(influx)
        self.settings = Settings({charger.name: charger}, outputs=(influx,))
        self.witness.note("reload")
        if self.exporter is not None:
            self._dropped += self.exporter.reload(self.settings)

    def reset(self, plug: SimulatedPlug, watt_hours: float) -> None:
        """Give a plug another meter."""
        self.witness.note(f"{plug.name} has another meter, at {watt_hours} Wh")
        self.charger.reset(plug, watt_hours)
        self.witness.reset(plug)

    def shows_all(self) -> bool:
        """Whether Prometheus knows all energy that has flowed."""
        return self.exporter is not None and self.witness.is_up_to_date()

    @contextmanager
    def unwritable(self, is_full: bool = True) -> Iterator[None]:
        """Nothing can be written to the state folder."""
        self._unwritable += 1
        self._set_full(is_full)
        try:
            yield
        finally:
            self._unwritable -= 1
            self._set_full(-is_full)

    def _set_full(self, more: int) -> None:
        self._is_full += more
        if self.exporter is not None:
            self.exporter.is_full = self._is_full > 0

    @contextmanager
    def without_sessions(self) -> Iterator[None]:
        """What chargeInfo says now does not count as seen."""
        self._dishonest += 1
        try:
            yield
        finally:
            self._dishonest -= 1

    # Scripts of a life

    def _faults(self) -> Script:
        yield 6 * 3600.0
        while self.time.now < self._end - _REST - 50_000:
            fault = self.random.choice(FAULTS)
            self._play(self._noted(fault.__name__, fault(self)))
            if self.random.random() < 0.35:
                beside = self.random.choice(BESIDE)
                self._play(self._delayed(self.random.uniform(0.0, 60.0), beside.__name__, partial(beside, self)))
            yield self.random.uniform(0.2, 1.8) * WEEK / FAULTS_A_WEEK

    def _delayed(self, seconds: float, name: str, begin: "partial[Script]") -> Script:
        yield seconds
        yield from self._noted(name, begin())

    def _noted(self, name: str, script: Script) -> Script:
        self._active += 1
        self._changed = self.time.now
        self.witness.note(f"{name} begins")
        yield from script
        self._active -= 1
        self._changed = self.time.now
        self.witness.note(f"{name} is over")

    def _cars(self, live: LivePlug, plug: SimulatedPlug) -> Script:
        chance = self.random
        while True:
            yield chance.uniform(1.0, 14.0) * 3600
            if self.time.now > self._end - _REST - 50_000:
                return
            kind = chance.random()
            if kind < 0.08:
                live.authorise(self.charger.tag())  # and no vehicle comes
                yield 120.0
                continue
            for _ in range(2 if kind < 0.2 else 1):
                need, most = chance.uniform(500.0, 40_000.0), chance.uniform(7.0, 32.0)
                live.plug_in(need, most)
                yield chance.uniform(5.0, 60.0)
                live.authorise(self.charger.tag())
                yield chance.uniform(60.0, 200.0) if kind < 0.2 else chance.uniform(0.2, 8.0) * 3600
                if kind < 0.3:
                    live.authorise(self.charger.tag())
                    yield chance.uniform(5.0, 400.0)
                live.unplug()
                yield chance.uniform(5.0, 60.0)
            assert plug.state is not State.CHARGING

    # The end

    def _check_end(self) -> None:
        exporter = self.exporter
        if exporter is None:
            self.witness.fail("the exporter does not run at the end")
            return
        if down := exporter.supervisor.down(self.time.monotonic):
            self.witness.fail(f"workers are down: {down}")
        if missing := self._queued - self.database.reads:
            dropped = self._dropped + exporter.pusher.dropped_later
            if len(missing) > dropped:
                self.witness.fail(f"{len(missing)} reads that were queued are lost, {dropped} points were dropped")
        self.witness.check_increase()
        self.witness.check_accounts(self.folder / SESSIONS_FILE)
        self.witness.check_sessions(self.folder / SESSIONS_FILE, self.database)


def _objects() -> int:
    gc.collect()
    return len(gc.get_objects())
