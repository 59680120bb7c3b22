"""Compares what the exporter says with the truth, after every step and at the end."""

import logging
import sqlite3
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.sessions import store
from ccl_exporter.sessions.tracker import RegisterAccount
from ccl_exporter.simulator.physics import SimulatedCharge, SimulatedPlug
from simulation.charger import SimulatedCharger
from simulation.database import SimulatedDatabase

RESOLUTION = 36_000.0
"""Joules of one step of the meter."""

_MOST_WATTS = 32 * 264 * 3.0
_LONGEST_SESSION = 31 * 86_400.0
_LATEST = 660.0  # seconds that what is shown may be old, a little more than two scrapes


class InvariantError(AssertionError):
    """An invariant does not hold."""


@dataclass
class Series:
    """What Prometheus makes of the register of a plug; joules."""

    plug: SimulatedPlug
    shown: float | None = None
    increase: float = 0.0
    first: float | None = None
    """The energy delivered at the first sample."""
    last: float = 0.0
    is_reset: bool = False
    """Whether the register was truly reset since the last sample."""
    exempt: float = 0.0
    """What true resets to a value above zero add to the increase."""
    begins_at: float = 0.0
    """What the meter showed when it came."""
    was_away: bool = False
    """Whether the exporter ended between the reset and the first sample of the new meter."""
    missed: float = 0.0
    """What new meters had counted at their first sample, where the exporter had ended: it is in no account."""


@dataclass
class Seen:
    """What the exporter was shown of a session: that it runs, that it has ended, after the last commit."""

    running: bool = False
    ended: bool = False


@dataclass
class Witness:
    """Holds the invariants; `trace` is what happened lately."""

    charger: SimulatedCharger
    trace: deque[str] = field(default_factory=lambda: deque(maxlen=60))

    def __post_init__(self) -> None:
        self.series = {plug.name: Series(plug) for plug in self.charger.plugs}
        self.seen: dict[tuple[str, float], Seen] = {}
        self.kept: dict[tuple[str, float], float] = {}
        """Sessions of files that were taken away: joules by plug and key."""
        self._accounts: dict[tuple[str, int], RegisterAccount] = {}
        self._totals: dict[tuple[str, ...], float] = {}
        self._resets = 0
        self._innocent: set[str] = set()
        self._secrets = 0
        self._reset_of: dict[tuple[str, ...], int] = {}

    def note(self, text: str) -> None:
        self.trace.append(f"{self.charger.time.now:.1f} {text}")

    def fail(self, text: str) -> None:
        raise InvariantError("\n".join((text, *self.trace)))

    def reset(self, plug: SimulatedPlug) -> None:
        """A plug has another meter now."""
        series = self.series[plug.name]
        series.is_reset, series.was_away = True, False
        series.begins_at = self.charger.joules(plug)
        series.exempt += series.begins_at
        self._resets += 1

    def exporter_ended(self) -> None:
        """The process is gone: what a meter counts until the next one is seen by nothing."""
        for series in self.series.values():
            series.was_away |= series.is_reset

    # After each step

    def read(self, snapshot: Snapshot, samples: Sequence[Sample], is_quiet: bool, sees_sessions: bool) -> None:
        """A scrape: `is_quiet` says that all faults are long over, `sees_sessions` that chargeInfo is honest."""
        shown = {sample.labels[0]: sample.value for sample in samples if sample.family is f.PLUG_ENERGY}
        for name, series in self.series.items():
            self._register(series, shown.get(name), snapshot.up, is_quiet)
        for sample in samples:
            if sample.family is f.PLUG_POWER and not 0 <= sample.value <= _MOST_WATTS:
                self.fail(f"a power of {sample.value} W was shown")
            if sees_sessions and sample.family is f.CHARGE_ENERGY:
                self._charge_energy(sample)
            if sample.family is f.CHARGE_DURATION and not 0 <= sample.value < _LONGEST_SESSION:
                self.fail(f"a session of {sample.value} s was shown")
            if sample.family.name.startswith("ccl_variable_") and sample.family.kind == "counter":
                self._total((sample.family.name, *sample.labels), sample.value)
        if is_quiet and not snapshot.up:
            self.fail("the charger is shown as down")
        self._look_at_labels(samples)
        if sees_sessions:
            self._sessions(snapshot, shown)

    def _register(self, series: Series, shown: float | None, up: bool, is_quiet: bool) -> None:
        true = self.charger.joules(series.plug)
        self.note(
            f"{series.plug.name} true {true / 3.6e6:.3f} shown"
            f" {'-' if shown is None else f'{shown / 3.6e6:.3f}'} kWh up {up:d} {series.plug.state.name}"
            f" sent {', '.join(f'{name} {value}' for name, value in self.charger.sent.items())}"
        )
        if shown is None:
            if is_quiet:
                self.fail(f"the register of {series.plug.name} is not shown")
            return
        if shown > true + 1:
            self.fail(f"{shown} J were shown of {true} J")
        # chargeInfo, where it stands for the register, is not asked for in every read.
        if is_quiet and shown < true - RESOLUTION - series.plug.watts * _LATEST:
            self.fail(f"only {shown} J were shown of {true} J")
        if series.shown is not None:
            if shown < series.shown and not series.is_reset:
                self.fail(f"the register fell from {series.shown} J to {shown} J")
            series.increase += shown - series.shown if shown >= series.shown else shown
            if shown < series.shown:
                series.missed += shown - series.begins_at if series.was_away else 0.0
                series.is_reset = series.was_away = False
        series.shown = shown
        series.last = self.charger.delivered(series.plug)
        if series.first is None:
            series.first = series.last

    def _charge_energy(self, sample: Sample) -> None:
        plug = self.series[sample.labels[0]].plug
        true = plug.charge_energy_at(self.charger.time.now) * 3600
        if sample.value > true + 1:
            self.fail(f"{sample.value} J of a session were shown, true are {true} J")

    def _total(self, key: tuple[str, ...], value: float) -> None:
        before = self._totals.get(key)
        if before is not None and value < before:
            if self._reset_of.get(key, 0) == self._resets:
                self.fail(f"{key} fell from {before} to {value}")
            self._reset_of[key] = self._resets
        self._totals[key] = value

    def _sessions(self, snapshot: Snapshot, shown: Mapping[str, float]) -> None:
        """Note which sessions chargeInfo has while the register is accepted."""
        for plug, record in snapshot.charges.items():
            session = self.charger.sessions[plug][-1]
            key = round(self.charger.key(session), 3)
            if plug in shown and record.requested is not None and round(record.requested, 3) == key:
                seen = self.seen.setdefault((plug, key), Seen())
                seen.running |= session.ended is None
                seen.ended |= session.ended is not None and record.ended is not None

    def _look_at_labels(self, samples: Sequence[Sample]) -> None:
        """No personal value may be in a sample; texts that were looked at before hold no secret of then."""
        if self._secrets != len(self.charger.secrets):
            self._secrets = len(self.charger.secrets)
            self._innocent.clear()
        texts = {text for sample in samples for text in sample.labels + sample.active} - self._innocent
        self._innocent |= texts
        self.look("\n".join((*texts, *(str(sample.value) for sample in samples))))

    def look(self, text: str) -> None:
        """No personal value may be in what leaves."""
        for secret in self.charger.secrets:
            if secret in text:
                line = next(line for line in text.splitlines() if secret in line)
                self.fail(f"the personal value {secret} was published: {line}")

    def is_up_to_date(self) -> bool:
        """Whether all energy that has flowed was shown."""
        return all(
            series.shown is not None and series.shown > self.charger.joules(series.plug) - RESOLUTION
            for series in self.series.values()
        )

    # The files

    def keep_sessions(self, path: Path) -> None:
        """Remember what a session log holds that is taken away now."""
        self.kept |= _recorded(path)
        self._accounts |= _accounts(path)

    def forget_unwritten(self) -> None:
        """The process was killed while nothing could be written: what it saw may be lost."""
        self.seen.clear()

    # At the end

    def check_increase(self) -> None:
        for series in self.series.values():
            if series.first is None:
                continue
            true = series.last - series.first
            error = series.increase - true - series.exempt
            if abs(error) > 0.001 * true + 2 * RESOLUTION:
                self.fail(
                    f"the increase of {series.plug.name} is {series.increase / 3.6e6:.3f} kWh,"
                    f" true are {true / 3.6e6:.3f} and {series.exempt / 3.6e6:.3f} of resets"
                )

    def check_sessions(self, path: Path, database: SimulatedDatabase) -> None:
        """The session log against the true sessions; its accounts against the energy that flowed."""
        found = self.kept | _recorded(path)
        for plug, sessions in self.charger.sessions.items():
            true = {round(self.charger.key(session), 3): session for session in sessions}
            for (name, key), joules in found.items():
                if name != plug:
                    continue
                if key not in true:
                    self.fail(f"the session {key} of {plug} was recorded, which there never was")
                self._check_session(plug, key, true[key], joules)
            for (name, key), seen in self.seen.items():
                if name == plug and key in true and (seen.ended or seen.running):
                    session = true[key]
                    is_over = seen.ended or session is not sessions[-1]
                    if is_over and (name, key) not in found and (seen.ended or _energy(session)):
                        self.fail(f"the session {key} of {plug} was seen ({seen}) and is not recorded")
        for row in found.items():
            (plug, key), joules = row
            if not any(name == plug and abs(joules - sent) < 1 for name, sent in database.sessions):
                self.fail(f"the session {key} of {plug} with {joules} J did not reach the database")

    def check_accounts(self, path: Path) -> None:
        """Sessions and unattributed energy are what has flowed; the register of each plug rests by now."""
        found = self.kept | _recorded(path)
        accounts = self._accounts | _accounts(path)
        for plug, series in self.series.items():
            if series.first is None:
                continue
            own = [account for (name, _), account in accounts.items() if name == plug]
            sessions = [session for session in self.charger.sessions[plug][1:] if _energy(session)]
            flowed = series.last - series.first
            grown = sum(account.grown for account in own)
            recorded = sum(found.get((plug, round(self.charger.key(session), 3)), 0.0) for session in sessions)
            unassigned = sum(account.unassigned for account in own)
            steps = RESOLUTION * (2 * len(own) + len(sessions))
            if abs(flowed - series.missed - grown) > steps:
                self.fail(f"the accounts of {plug} have grown by {grown} J, true are {flowed} J: {own}")
            # What was missed may be of a session that is recorded whole.
            if not -steps <= flowed - recorded - unassigned <= series.missed + steps:
                self.fail(f"{plug}: of {flowed} J {recorded} J are of sessions and {unassigned} J of none: {own}")

    def _check_session(self, plug: str, key: float, session: SimulatedCharge, joules: float) -> None:
        true = _energy(session)
        seen = self.seen.get((plug, key), Seen())
        if true is None:
            return
        if joules > true + RESOLUTION or (seen.ended and joules < true - RESOLUTION):
            self.fail(f"the session {key} of {plug} was recorded with {joules} J and had {true} J ({seen})")


def _energy(session: SimulatedCharge) -> float | None:
    """Joules of a session that has ended."""
    if session.began is None:
        return 0.0
    if session.register_at_end is None:
        return None
    return (session.register_at_end - session.register_at_begin) * 3600


def _recorded(path: Path) -> dict[tuple[str, float], float]:
    """Joules of the recorded sessions by plug and key."""
    if not path.is_file():
        return {}
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT plug, key, joules FROM finished").fetchall()
    return {(plug, round(key, 3)): joules for plug, key, joules in rows}


def _accounts(path: Path) -> dict[tuple[str, int], RegisterAccount]:
    """The accounts by plug and generation of the register."""
    found = store.read(path).accounts if path.is_file() else ()
    return {(plug, account.register_generation): account for _, plug, account in found}


class LogWitness(logging.Handler):
    """No personal value may be in a line of the log."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self._witness.note(f"log: {text}")
        self._witness.look(text)
