"""When to charge so that it costs least, by prices in slots, a need and a time by which it must be there. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import reduce
from itertools import accumulate, pairwise
from math import ceil, inf, isfinite
from typing import Any, NamedTuple

from ccl_exporter.control.plan.prices import LATEST, Slot
from ccl_exporter.errors import UsageError

LEAST_BLOCK = 900.0
"""Seconds that a charge lasts at least, unless less is needed: a start wears the contactor of car and charger."""

FULL = 0.05
"""Kilowatt-hours for which no car is charged: the meter counts in tens of watt-hours."""

SHORTEST_PAUSE = 120.0
"""Seconds; in a pause that is shorter the charge goes on."""

FEWER_STARTS = 0.009
"""What a plan with fewer starts may cost more, as a share of the need at the mean price.

A tenth of the one per cent is left for the search, which begins and ends blocks at quarters of an hour.
"""

_RESERVE = 300.0
"""Seconds before the deadline in which nothing is charged whose price is not known, if there is time before."""

_MOST_CELLS = 192
_QUARTER = 900.0
_SECOND = 1.0
_TIE = 1e-6
"""What two costs differ by that are the same."""
_MOST_ODD = 3
"""Lengths of shorter cells that are tried for the cell used in part; each makes the search longer."""
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def is_met(need: float, charged: float) -> bool:
    """Whether what is left of a need, in kilowatt-hours, is too little to begin a charge for it."""
    return need - charged <= max(FULL, 0.02 * need)


@dataclass(frozen=True, slots=True)
class Piece:
    """Charging from `begin` to `end` (Unix seconds), at a price per kilowatt-hour; None if it is not known."""

    begin: float
    end: float
    price: float | None
    kilowatts: float

    @property
    def kilowatt_hours(self) -> float:
        return self.kilowatts * (self.end - self.begin) / 3600

    @property
    def cost(self) -> float:
        return (self.price or 0.0) * self.kilowatt_hours


@dataclass(frozen=True, slots=True)
class Plan:
    """Pieces in order of time; `missing` is the rest of the need, in kilowatt-hours."""

    pieces: Sequence[Piece]
    missing: float = 0.0

    @property
    def cost(self) -> float:
        """The cost of the pieces whose price is known."""
        return sum(piece.cost for piece in self.pieces)

    @property
    def kilowatt_hours(self) -> float:
        return sum(piece.kilowatt_hours for piece in self.pieces)

    @property
    def unpriced(self) -> float:
        """Kilowatt-hours that are charged as late as possible, as their price is not known."""
        return sum(piece.kilowatt_hours for piece in self.pieces if piece.price is None)

    @property
    def blocks(self) -> Sequence[tuple[float, float]]:
        """Begin and end (Unix seconds) of each time of charging without a stop."""
        found: list[tuple[float, float]] = []
        for piece in self.pieces:
            if found and piece.begin - found[-1][1] < SHORTEST_PAUSE:
                found[-1] = found[-1][0], piece.end
            else:
                found.append((piece.begin, piece.end))
        return found

    def holds(self, at: float) -> bool:
        """Whether the car charges at an instant."""
        return any(begin <= at < end for begin, end in self.blocks)

    def turns_next(self, at: float) -> float | None:
        """When `holds` changes next, in Unix seconds; None if never."""
        return min((edge for block in self.blocks for edge in block if edge > at), default=None)


def below(slots: Sequence[Slot], price: float, kilowatts: float, begin: float, by: float) -> Plan:
    """The plan to charge whenever a kilowatt-hour costs less than `price`, from `begin` to `by` (Unix seconds)."""
    return Plan(_pieces([slot for slot in _clipped(slots, begin, by) if slot.price < price], kilowatts))


def cheapest(
    slots: Sequence[Slot],
    need: float,
    kilowatts: float,
    begin: float,
    by: float,
    least: float = LEAST_BLOCK,
    charging: bool = False,
) -> Plan:
    """The plan with the fewest starts of those that cost least, to `FEWER_STARTS`, at a constant power.

    It has `need` kilowatt-hours between two instants and charges for `least` seconds or longer each time.
    A charge that goes on from `begin`, as the car is `charging` already, is no start.
    What does not fit into the time whose price is known is charged as late as possible in the rest.
    """
    known = _clipped(slots, begin, by)
    # The search does not see what takes less than a second.
    target = max(need * 3600 / kilowatts, _SECOND)
    left = target - sum(slot.seconds for slot in known)
    if left > -_SECOND:
        late = _late(known, begin, by, left) if left > _SECOND else []
        missing = max(left - sum(end - first for first, end in late), 0.0)
        pieces = [*_pieces(known, kilowatts), *(Piece(first, end, None, kilowatts) for first, end in late)]
        return Plan(sorted(pieces, key=lambda piece: piece.begin), missing * kilowatts / 3600)
    search = _Search(_cells(slots, begin, by), target)
    found = search.fewest(min(least, target), charging) or search.fewest(0.0, charging) or known
    return Plan(_pieces(found, kilowatts))


def _clipped(slots: Sequence[Slot], begin: float, by: float) -> Sequence[Slot]:
    return [
        Slot(max(slot.begin, begin), min(slot.end, by), slot.price)
        for slot in slots
        if slot.end > begin and slot.begin < by
    ]


def _pieces(slots: Sequence[Slot], kilowatts: float) -> Sequence[Piece]:
    """Slots as pieces; what is one price without a gap is one piece."""
    found: list[Piece] = []
    for slot in slots:
        first = slot.begin
        if found and (found[-1].end, found[-1].price) == (slot.begin, slot.price):
            first = found.pop().begin
        found.append(Piece(first, slot.end, slot.price, kilowatts))
    return found


def _late(known: Sequence[Slot], begin: float, by: float, seconds: float) -> Sequence[tuple[float, float]]:
    """The last times beside the known ones, so many seconds if they have them."""
    edges = [begin, *(edge for slot in known for edge in (slot.begin, slot.end)), by]
    free = [(first, end) for first, end in zip(edges[::2], edges[1::2], strict=True) if end > first]
    spare = sum(end - first for first, end in free) - seconds
    if free and free[-1][1] == by:
        first, end = free[-1]
        free[-1] = first, max(end - min(_RESERVE, max(spare, 0.0)), first)
    found = []
    for first, end in reversed(free):
        used = min(end - first, seconds)
        if used > 0:
            found.append((end - used, end))
        seconds -= used
    return found


def _cells(slots: Sequence[Slot], begin: float, by: float) -> Sequence[Slot]:
    """The slots between two instants, cut at each quarter of an hour, at multiples of it where there are many.

    Where they are still too many, as prices are of five minutes, those of a quarter are one with their mean price.
    """
    step = _QUARTER * max(1, round((by - begin) / _QUARTER / _MOST_CELLS))
    found: list[Slot] = []
    for whole in slots:
        # Counted from where the price began, which is before `begin` for the first one.
        origin = whole.begin if isfinite(whole.begin) else 0.0
        for slot in _clipped([whole], begin, by):
            inner = range(int((slot.begin - origin) // step) + 1, ceil((slot.end - origin) / step))
            edges = [slot.begin, *(origin + number * step for number in inner), slot.end]
            found += [Slot(first, end, slot.price) for first, end in pairwise(edges)]
    if len(found) <= 1.5 * _MOST_CELLS:
        return found
    merged: list[Slot] = []
    for cell in found:
        if merged and merged[-1].end == cell.begin and merged[-1].begin // step == cell.begin // step:
            last = merged.pop()
            price = (last.price * last.seconds + cell.price * cell.seconds) / (cell.end - last.begin)
            merged.append(Slot(last.begin, cell.end, price))
        else:
            merged.append(cell)
    return merged


class _State(NamedTuple):
    """A part of a plan: its cost, its seconds, whether a cell is used in part, and what is charged."""

    cost: float
    used: float
    has_part: bool
    path: Any

    def and_then(self, slot: Slot) -> "_State":
        """The same with a slot more."""
        cost = self.cost + slot.seconds * slot.price
        return self._replace(cost=cost, used=self.used + slot.seconds, path=(self.path, slot))

    def and_part(self, slot: Slot) -> "_State":
        """The same with the cell that is used in part."""
        return self.and_then(slot)._replace(has_part=True)

    @property
    def charged(self) -> Sequence[Slot]:
        found, path = [], self.path
        while path is not None:
            path, slot = path
            found.append(slot)
        return found[::-1]


_States = list[dict[tuple[int, bool], _State]]
"""By the cell before which they are, and by their seconds and whether a cell is used in part, the best ones."""


class _Search:
    """The best plans that charge for `target` seconds in some of the cells, found with one start after another.

    In a best plan every block begins and ends at the edge of a cell, but for one end of one block: of two such
    ends the dearer one could be moved at the expense of the cheaper one. So a plan is whole cells and at most one
    that is used in part, as far as they lack to the target. What must cost more than a limit is given up early.
    """

    def __init__(self, cells: Sequence[Slot], target: float) -> None:
        self._cells = cells
        self._target = target
        self._step = max(cell.seconds for cell in cells)
        # What a part may lack besides: cells that are shorter than the others, such as the last one.
        shorter = {round(cell.seconds) for cell in cells[1:] if cell.seconds < self._step - _SECOND}
        self._odd = {0, *sorted(shorter)[:_MOST_ODD]}
        joined = [one.begin - before.end < SHORTEST_PAUSE for before, one in pairwise(cells)]
        self._joined = [False, *joined, False]
        # Without any rules the cheapest cells are used, up to a price.
        left, chosen = target, set[int]()
        for number in sorted(range(len(cells)), key=lambda number: cells[number].price):
            if left > 0:
                chosen.add(number)
                self._price = cells[number].price
                left -= cells[number].seconds
        self._most_blocks = sum(number - 1 not in chosen or not self._joined[number] for number in chosen)
        # What the cells from each on can save against that price at most.
        savings = [min(cell.price - self._price, 0.0) * cell.seconds for cell in reversed(cells)]
        self._savings = [*reversed([*accumulate(savings)]), 0.0]
        self._lowest = self._price * target + self._savings[0]
        self._limit = inf

    def fewest(self, least: float, charging: bool) -> Sequence[Slot] | None:
        """What is charged; None if the target cannot be had with blocks that are so long."""
        seconds = sum(cell.seconds for cell in self._cells)
        more = FEWER_STARTS * self._target * sum(abs(cell.price) * cell.seconds for cell in self._cells) / seconds
        for times in (0.1, 1, 4, 16, 64, inf):
            self._limit = self._lowest + max(times * more, _TIE)
            best = min((plan.cost for plan in self._plans(least, charging)), default=None)
            if best is not None:
                self._limit = best + more + _TIE
                return next(self._plans(least, charging)).charged
        return None

    def _plans(self, least: float, charging: bool) -> Iterator[_State]:
        """The best plans of ever more starts that cost no more than the limit."""
        nothing = _State(0.0, 0.0, False, None)
        states: _States = [{(0, False): nothing} for _ in range(len(self._cells) + 1)]
        if charging:
            # It may go on for a while, or stop now.
            for number, found in enumerate(self._with_another_block(states[:1], 0.0)):
                states[number] |= found
        for starts in range(self._most_blocks + 2):
            if starts:
                states = self._with_another_block(states, least)
            ends = [state for state in states[-1].values() if abs(state.used - self._target) < _SECOND]
            if ends:
                yield min(ends, key=lambda plan: (round(plan.cost, 3), plan.charged[-1].end))

    def _with_another_block(self, before: _States, least: float) -> _States:
        """The states with one block more than those `before`."""
        on: _States = [{} for _ in range(len(self._cells) + 1)]
        off: _States = [{} for _ in range(len(self._cells) + 1)]
        for number, cell in enumerate(self._cells):
            # What ends earlier comes first, as of two that cost the same the first one stays.
            for state in on[number].values():
                self._keep(off, number, state)
            for state in off[number].values():
                self._keep(off, number + 1, state)
            for state in on[number].values() if self._joined[number] else ():
                self._keep(on, number + 1, state.and_then(cell))
                for part in self._parts(state, cell):
                    self._keep(off, number + 1, state.and_part(Slot(cell.begin, cell.begin + part, cell.price)))
            for state in before[number].values() if number < len(before) else ():
                self._begin(on, off, state, number, 0.0, least)
                for part in self._parts(state, cell):
                    if part >= least - _SECOND:
                        alone = Slot(cell.begin, cell.begin + part, cell.price)
                        self._keep(off, number + 1, state.and_part(alone))
                    begin = Slot(cell.end - part, cell.end, cell.price)
                    self._begin(on, off, state.and_part(begin), number + 1, part, least)
        for state in on[-1].values():
            self._keep(off, len(self._cells), state)
        return off

    def _begin(self, on: _States, off: _States, state: _State, number: int, part: float, least: float) -> None:
        """Begin a block, of which there is a part already, with the cells that make it long enough.

        Where these are longer, a block of the minimum length lies at either end of them.
        """
        seconds, run, longer = part, list[Slot](), state
        while not (part or run) or seconds < least - _SECOND:
            if number == len(self._cells) or ((part or run) and not self._joined[number]):
                return
            cell = self._cells[number]
            for tail in self._parts(longer, cell) if run else ():
                if seconds + tail >= least - _SECOND:
                    self._keep(off, number + 1, longer.and_part(Slot(cell.begin, cell.begin + tail, cell.price)))
            run.append(cell)
            longer, seconds, number = longer.and_then(cell), seconds + cell.seconds, number + 1
        self._keep(on, number, longer)
        spare = seconds - least
        if run and not part and spare > _SECOND:
            if spare < run[0].seconds:
                late = replace(run[0], begin=run[0].begin + spare)
                self._keep(off, number, reduce(_State.and_then, run[1:], state.and_then(late)))
            if spare < run[-1].seconds:
                early = replace(run[-1], end=run[-1].end - spare)
                self._keep(off, number, reduce(_State.and_then, run[:-1], state).and_then(early))

    def _parts(self, state: _State, cell: Slot) -> Iterator[float]:
        """How many seconds of a cell may be missing to the target beside whole cells."""
        if not state.has_part:
            for odd in self._odd:
                part = (self._target - state.used - odd) % self._step
                if _SECOND <= part < cell.seconds:
                    yield part

    def _keep(self, states: _States, number: int, state: _State) -> None:
        """Add a state before a cell, unless one is there that is better."""
        at_least = state.cost + (self._target - state.used) * self._price + self._savings[number]
        if state.used < self._target + _SECOND and at_least <= self._limit:
            key = round(state.used), state.has_part
            old = states[number].get(key)
            if old is None or state.cost < old.cost - _TIE:
                states[number][key] = state


def is_clock(text: str) -> bool:
    """Whether a deadline is a time of the day."""
    return _CLOCK.fullmatch(text) is not None


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
        if instant.timestamp() >= LATEST:
            raise UsageError(f"{text} is too late: give a time before the year 2200")
        return instant.timestamp()
    clock = time(int(found[1]), int(found[2]))
    today = datetime.fromtimestamp(now, UTC).astimezone(zone).date()
    for days in range(3):
        wall = datetime.combine(today + timedelta(days=days), clock, zone)
        at = min(wall.replace(fold=fold).timestamp() for fold in (0, 1))
        if at > now:
            return at
    raise UsageError(f"{text!r} does not come")
