"""When to charge so that it costs least, by prices in slots, a need and a time by which it must be there. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo

from ccl_exporter.control.plan.prices import Slot
from ccl_exporter.errors import UsageError

_JOULES_LEFT = 1e-6
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class Piece:
    """From `begin` to `end` (Unix seconds) the car charges, at a price for each kilowatt-hour."""

    begin: float
    end: float
    price: float
    kilowatts: float

    @property
    def kilowatt_hours(self) -> float:
        return self.kilowatts * (self.end - self.begin) / 3600

    @property
    def cost(self) -> float:
        return self.price * self.kilowatt_hours


@dataclass(frozen=True, slots=True)
class Plan:
    """Pieces in order. `missing` is what the need has beyond them, in kilowatt-hours."""

    pieces: Sequence[Piece]
    missing: float

    @property
    def cost(self) -> float:
        return sum(piece.cost for piece in self.pieces)

    @property
    def kilowatt_hours(self) -> float:
        return sum(piece.kilowatt_hours for piece in self.pieces)

    @property
    def blocks(self) -> Sequence[tuple[float, float]]:
        """Begin and end of each time without a pause."""
        found: list[tuple[float, float]] = []
        for piece in self.pieces:
            if found and found[-1][1] == piece.begin:
                found[-1] = found[-1][0], piece.end
            else:
                found.append((piece.begin, piece.end))
        return found

    def holds(self, at: float) -> bool:
        """Whether the car charges at an instant."""
        return any(begin <= at < end for begin, end in self.blocks)

    def turns_next(self, at: float) -> float | None:
        """When that changes next; None if never."""
        return min((edge for block in self.blocks for edge in block if edge > at), default=None)


def cheapest(slots: Sequence[Slot], need: float, kilowatts: float, begin: float, by: float) -> Plan:
    """The cheapest way to have `need` kilowatt-hours between two instants, at a constant power.

    The cheapest slots are filled whole, the dearest of them in part. Among equal prices those beside a chosen
    one come first, then the earlier one: fewer starts, and less that can go wrong.
    """
    open_slots = [
        Slot(max(slot.begin, begin), min(slot.end, by), slot.price)
        for slot in slots
        if slot.end > begin and slot.begin < by
    ]
    left = need * 3600 / kilowatts
    chosen: dict[Slot, float] = {}
    while open_slots and left > _JOULES_LEFT:
        best = min(open_slots, key=lambda slot: (slot.price, not _beside(slot, chosen), slot.begin))
        open_slots.remove(best)
        chosen[best] = min(best.seconds, left)
        left -= chosen[best]
    pieces = [_piece(slot, seconds, chosen, kilowatts) for slot, seconds in chosen.items()]
    return Plan(sorted(pieces, key=lambda piece: piece.begin), max(left, 0.0) * kilowatts / 3600)


def _beside(slot: Slot, chosen: dict[Slot, float]) -> bool:
    return any(slot.begin == other.end or slot.end == other.begin for other in chosen)


def _piece(slot: Slot, seconds: float, chosen: dict[Slot, float], kilowatts: float) -> Piece:
    """The part of a slot that is used: its end where a whole one follows and none comes before, else its begin."""
    if seconds >= slot.seconds:
        return Piece(slot.begin, slot.end, slot.price, kilowatts)
    before = any(other.end == slot.begin for other in chosen)
    after = any(other.begin == slot.end for other in chosen)
    if after and not before:
        return Piece(slot.end - seconds, slot.end, slot.price, kilowatts)
    return Piece(slot.begin, slot.begin + seconds, slot.price, kilowatts)


def deadline(text: str, now: float, zone: tzinfo | None) -> float:
    """The next `07:00` after `now`, or an instant with an offset, in Unix seconds; raises `UsageError`.

    Without a zone it is that of this machine.

    Where the clock is set, a time that comes twice is the first, and of one that it skips the earlier reading.
    """
    if (found := _CLOCK.fullmatch(text)) is None:
        try:
            instant = datetime.fromisoformat(text)
        except ValueError:
            instant = datetime.min
        if instant.tzinfo is None:
            raise UsageError(f"{text!r} is not a time; it looks like 07:00 or 2026-03-29T07:00+01:00")
        if instant.timestamp() <= now:
            raise UsageError(f"{text} is over")
        return instant.timestamp()
    clock = time(int(found[1]), int(found[2]))
    today = datetime.fromtimestamp(now, UTC).astimezone(zone).date()
    for days in range(3):
        wall = datetime.combine(today + timedelta(days=days), clock, zone)
        at = min(wall.replace(fold=fold).timestamp() for fold in (0, 1))
        if at > now:
            return at
    raise UsageError(f"{text!r} does not come")
