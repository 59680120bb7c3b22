"""The last read of each charger, and its power in the last 24 hours. In memory only: lost at a restart."""

import threading
from array import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import nan

from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.judge import Station
from ccl_exporter.station.plug import Plug

MINUTES = 24 * 60
MOST_HISTORIES = 50
"""Chargers whose power is kept; each plug takes 6 kB."""

_LATE = 60.0  # seconds; a read that is older than the last by more was made after the clock was set back


@dataclass(frozen=True, slots=True)
class LastRead:
    """A read of a charger, judged as by `Station`."""

    snapshot: Snapshot
    plugs: Sequence[Plug]
    state: str | None
    faults: tuple[str, ...] | None
    celsius: float | None
    booted: float | None

    @classmethod
    def of(cls, station: Station) -> "LastRead":
        return cls(
            snapshot=station.snapshot,
            plugs=station.plugs,
            state=station.state,
            faults=station.faults,
            celsius=station.celsius,
            booted=station.booted,
        )


class PowerHistory:
    """The mean power of a plug in each of the last 1,440 minutes, in watts."""

    def __init__(self) -> None:
        self._watts = array("f", [nan]) * MINUTES
        self._minute = -MINUTES
        self._readings = 0

    def note(self, at: float, watts: float) -> None:
        """Add a reading at `at` (Unix seconds)."""
        minute = int(at // 60)
        if minute != self._minute:
            # Also where the clock was set back: what was read after `minute` would pass for yesterday's.
            first, last = sorted((minute, self._minute))
            for other in range(max(first, last - MINUTES) + 1, last + 1):
                self._watts[other % MINUTES] = nan
            self._minute, self._readings = minute, 0
        self._readings += 1
        mean = self._watts[minute % MINUTES] if self._readings > 1 else 0.0
        self._watts[minute % MINUTES] = mean + (watts - mean) / self._readings

    def until(self, now: float) -> Sequence[float]:
        """The 1,440 minutes up to `now` (Unix seconds), oldest first; NaN where nothing was read."""
        last = int(now // 60)
        known = range(self._minute - MINUTES + 1, self._minute + 1)
        return [
            self._watts[minute % MINUTES] if minute in known else nan
            for minute in range(last - MINUTES + 1, last + 1)
        ]


class RecentReadings:
    """Takes every read of the chargers that are `known` by name now; safe to use from several threads."""

    def __init__(self, known: Callable[[], Collection[str]]) -> None:
        self._known = known
        self._lock = threading.Lock()
        self._last: dict[str, LastRead] = {}
        self._powers: dict[str, dict[str, PowerHistory]] = {}

    def note(self, charger: str, station: Station) -> None:
        """Keep what a read says; the same read again changes nothing."""
        snapshot, known = station.snapshot, self._known()
        if charger not in known:
            return
        with self._lock:
            before = self._last.get(charger)
            if before is not None and 0 <= before.snapshot.taken - snapshot.taken < _LATE:
                return
            for kept in (self._last, self._powers) if before is None else ():
                for gone in kept.keys() - known:
                    del kept[gone]
            self._last[charger] = LastRead.of(station)
            if station.plugs and (charger in self._powers or len(self._powers) < MOST_HISTORIES):
                powers = self._powers.get(charger, {})
                self._powers[charger] = {
                    plug.name: powers.get(plug.name, PowerHistory()) for plug in station.plugs
                }
                for plug in station.plugs:
                    if plug.power is not None:
                        self._powers[charger][plug.name].note(snapshot.taken, plug.power)

    def last(self, charger: str) -> LastRead | None:
        """The last read of a charger; None if it was not read yet."""
        return self._last.get(charger)

    def powers(self, charger: str, now: float) -> dict[str, Sequence[float]]:
        """The power of each plug that has a history, as `PowerHistory.until` returns it."""
        with self._lock:
            return {plug: history.until(now) for plug, history in self._powers.get(charger, {}).items()}
