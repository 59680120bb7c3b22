"""Which lines of refused requests are bad: found by dividing them, judged by what happens alone. Pure.

A field is set aside only after a refusal of its own, or a line that is older than the newest reading of the same
charger, when this one was taken with the same fields. A refusal counts only between two requests of a newest
reading that were taken: otherwise the database may refuse everything for a while, and nothing is set aside.
What a database says of the bad lines only decides what is tried next.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from typing import NamedTuple

from ccl_exporter.outputs.influxdb.client import Accepted, Rejected, RequestTooLarge
from ccl_exporter.outputs.influxdb.line_protocol import Key, by_field, charger_of, joined, key_of, milliseconds_of
from ccl_exporter.outputs.influxdb.spool import Batch, RefusedLine

_CONFIRM_AFTER = 20  # requests, after which it is seen again whether the newest reading is taken
_TESTED_ALONE = 20  # fields that were refused before and are tried alone, each time; the others next time


class _Piece(NamedTuple):
    """A line or a part of it: the id of its batch, the line's position there, what is sent."""

    batch: int
    point: int
    line: str


@dataclass(slots=True)
class _Request:
    """Pieces for one request. `suspects` are fields that were refused before.

    `others` are as the only piece, but older or newer, and share its fate if it is refused.
    """

    pieces: list[_Piece]
    suspects: bool = False
    others: list[_Piece] | None = None


_DOUBT = _Request([])
"""Stands in the stack below what was refused of a newest reading: what is below waits until one is taken."""


@dataclass(slots=True)
class _Open:
    """A batch in question: how many of its pieces are left, and what was refused."""

    batch: Batch
    charger: str | None
    left: int
    time: float
    has_accepted: bool = False
    is_older: bool = False
    """Whether something was refused that is taken of the newest reading."""
    refused: list[RefusedLine] = field(default_factory=list)
    points: set[int] = field(default_factory=set)


def _opened(batch: Batch, pieces: int) -> _Open:
    first = batch.lines[0] if batch.lines else ""
    time = milliseconds_of(first)
    return _Open(batch, charger_of(first) if first else None, pieces, inf if time is None else time)


class Bisection:
    """Batches in question, divided request by request: send `request`, hand the outcome to `answered`.

    While no newest reading is known to be taken there is no `witness`, and no refusal counts. When it
    `has_to_confirm`, send the witness again, and say what came of it by `confirm` or `forget`.
    """

    def __init__(self) -> None:
        self._witness: tuple[str, int, tuple[str, ...]] | None = None
        self.compares = True
        """Whether older batches are or may be in question: then the fields of a newest reading matter."""
        self._open: dict[int, _Open] = {}
        self._stack: list[_Request] = []
        self._suspects: dict[Key, str] = {}
        self._unconfirmed: list[tuple[_Piece, str]] = []
        self._since = 0
        self._turn = 0
        self._newest: dict[str, int] = {}
        self._taken: dict[str, tuple[int, set[Key]]] = {}
        self._too_old = -inf  # the time in ms of a batch that was refused line by line, while newer ones are taken
        self._done: list[_Open] = []
        self._urgent: set[int] = set()

    @property
    def size(self) -> int:
        """How many pieces are still to be sent."""
        return sum(len(group.pieces) for group in self._stack)

    @property
    def is_idle(self) -> bool:
        return not self._stack and not self._unconfirmed

    @property
    def is_busy_with_newest(self) -> bool:
        """Whether newest readings are being divided: what is found of them is then known for the next ones."""
        return bool(self._urgent) or not (self.is_idle or self.witness)

    @property
    def is_plain(self) -> bool:
        """Whether the next request holds nothing that was refused alone before."""
        return not self._stack[-1].suspects and self._stack[-1].others is None

    @property
    def witness(self) -> tuple[str, ...]:
        """Lines of a newest reading that were taken."""
        if self._witness is None or self._newest[self._witness[0]] != self._witness[1]:
            return ()
        return self._witness[2]

    @property
    def has_to_confirm(self) -> bool:
        return bool(self._unconfirmed and self.witness) and (self._since >= _CONFIRM_AFTER or not self._stack)

    # Whole batches

    def without_suspects(self, batches: Iterable[Batch]) -> list[str]:
        """The lines of batches, but for fields that were refused before."""
        return [piece.line for batch in batches for piece in self._divided(batch)[0]]

    def passed(self, batches: Iterable[Batch]) -> None:
        """Know which batch is the newest reading of each charger."""
        for batch in batches:
            charger = charger_of(batch.lines[0]) if batch.lines else None
            if charger is not None:
                self._newest[charger] = max(batch.id, self._newest.get(charger, 0))

    def accepted(self, batches: Sequence[Batch], are_newest: bool) -> None:
        """A request of batches without their suspects was taken; the suspects are tried next."""
        is_confirmed = bool(self.witness)
        self.passed(batches)
        suspects: list[_Piece] = []
        for batch in batches:
            good, held = self._divided(batch)
            opened = _opened(batch, len(held))
            opened.has_accepted = True
            if held:
                self._open[batch.id] = opened
                suspects += held
            else:
                self._done.append(opened)
            if are_newest and opened.charger is not None and self._newest[opened.charger] == batch.id:
                self._is_taken(opened, [piece.line for piece in good], is_confirmed)
        if suspects:
            self._stack.append(_Request(suspects, suspects=True))

    def add(
        self, batches: Iterable[Batch], outcome: Rejected | RequestTooLarge | None = None, are_newest: bool = False
    ) -> None:
        """Take batches in question; `outcome` is that of a request of all of them without their suspects."""
        if not self.witness:
            self._send_again()
            if self._stack:
                self._stack.append(_DOUBT)
        every: list[_Piece] = []
        suspects: list[_Piece] = []
        for batch in batches:
            good, held = self._divided(batch)
            opened = _opened(batch, len(good) + len(held))
            if not opened.left:
                self._done.append(opened)
                continue
            self._open[batch.id] = opened
            if are_newest:
                self._urgent.add(batch.id)
            every += good
            suspects += held
        apart = [_Request(suspects, suspects=True)] if suspects else []
        if every and outcome is not None:
            self._stack += apart
            self._divide(_Request(every), outcome)
        else:
            whole = [_Request(every)] if every else []
            # Few requests, after which whole batches are done; but first of all a reading has to be taken.
            self._stack += [*whole, *apart] if self.witness else [*apart, *whole]

    def settled(self) -> list[tuple[Batch, list[RefusedLine], int]]:
        """The batches that are done since: what was refused, of how many points."""
        done, self._done = self._done, []
        return [(item.batch, item.refused, len(item.points)) for item in done]

    def forget(self) -> None:
        """Begin again later: nothing is known of the batches in question, and no reading is known to be taken."""
        for piece, _ in self._unconfirmed:
            self._suspects.pop(key_of(piece.line), None)
        self._witness = None
        self._open.clear()
        self._urgent.clear()
        self._stack.clear()
        self._unconfirmed.clear()
        self._too_old = -inf
        self._taken.clear()

    def give_back(self) -> None:
        """Forget the batches in question, which are many; that the newest reading is taken remains known."""
        witness, taken = self._witness, dict(self._taken)
        self.forget()
        self._witness, self._taken = witness, taken

    def confirm(self) -> None:
        """The newest reading is still taken: what was refused since is bad."""
        unconfirmed, self._unconfirmed, self._since = self._unconfirmed, [], 0
        for piece, reason in unconfirmed:
            self._resolve(piece, reason)

    # Requests

    def request(self) -> list[str]:
        """The lines to send next; none if there are none, or none while no newest reading is taken."""
        while self.witness and self._stack and self._stack[-1] is _DOUBT:
            self._stack.pop()
        return [piece.line for piece in self._stack[-1].pieces] if self._stack else []

    def answered(self, outcome: Accepted | Rejected | RequestTooLarge) -> None:
        """What came of `request`."""
        group = self._stack.pop()
        self._since += 1
        if isinstance(outcome, Accepted):
            self._accept(group)
        elif group.others is not None:
            self._refuse([*group.pieces, *group.others], outcome.reason)
        elif isinstance(outcome, RequestTooLarge) or not (group.suspects or self._is_one_key(group.pieces)):
            self._divide(group, outcome)
        elif len(group.pieces) == 1:
            self._refuse(group.pieces, outcome.reason)
        else:
            self._test_alone(group.pieces)

    def _accept(self, group: _Request) -> None:
        if group.suspects or group.others is not None:
            for piece in group.pieces:
                self._suspects.pop(key_of(piece.line), None)
        if group.others:
            self._stack.append(_Request(group.others))
        newest: dict[int, list[str]] = {}
        for piece in group.pieces:
            opened = self._open[piece.batch]
            opened.has_accepted = True
            if opened.charger is None:
                continue
            if self._newest.get(opened.charger) == piece.batch:
                newest.setdefault(piece.batch, []).append(piece.line)
            elif opened.time <= self._too_old:
                self._too_old = -inf
        for id_, lines in newest.items():
            self._is_taken(self._open[id_], lines, bool(self.witness))
        for piece in group.pieces:
            self._resolve(piece)

    def _is_taken(self, opened: _Open, lines: list[str], is_confirmed: bool) -> None:
        """Lines of the newest reading of a charger were taken; `is_confirmed` if one was before any refusal."""
        if not lines:
            return
        if self.compares or self._stack or self._unconfirmed:
            known, keys = self._taken.get(str(opened.charger), (0, set[Key]()))
            found = {key_of(piece) for line in lines for piece in by_field(line)}
            self._taken[str(opened.charger)] = (
                opened.batch.id,
                found | (keys if known == opened.batch.id else set()),
            )
        if is_confirmed:
            self.confirm()
        else:
            self._send_again()
        self._witness = str(opened.charger), opened.batch.id, tuple(lines)

    def _send_again(self) -> None:
        """Send what was refused once more: perhaps everything was."""
        again, self._unconfirmed, self._since = [piece for piece, _ in self._unconfirmed], [], 0
        for piece in again:
            self._suspects.pop(key_of(piece.line), None)
        if again:
            self._stack.append(_Request(again))

    def _divide(self, group: _Request, outcome: Rejected | RequestTooLarge) -> None:
        pieces = group.pieces
        is_one_field = len(pieces) == 1 and len(by_field(pieces[0].line)) == 1
        if is_one_field or (isinstance(outcome, Rejected) and self._is_too_old(pieces)):
            self._refuse(pieces, outcome.reason)
            return
        self._stack += [_Request(part, group.suspects) for part in self._parts(pieces, outcome)]

    def _is_too_old(self, pieces: Sequence[_Piece]) -> bool:
        """Whether this is a line, or a whole batch after one was refused line by line, that is too old."""
        opened = self._open[pieces[0].batch]
        is_whole = (
            opened.time <= self._too_old
            and len({piece.point for piece in pieces}) == len(opened.batch.lines)
            and all(piece.batch == opened.batch.id for piece in pieces)
        )
        return (is_whole or len(pieces) == 1) and all(map(self._is_older_than_taken, pieces))

    def _is_older_than_taken(self, piece: _Piece) -> bool:
        """Whether the newest reading of the same charger was taken with the same measurement, tags and fields."""
        newest, keys = self._taken.get(str(self._open[piece.batch].charger), (0, set[Key]()))
        return piece.batch < newest and all(key_of(part) in keys for part in by_field(piece.line))

    def _parts(self, pieces: list[_Piece], outcome: Rejected | RequestTooLarge) -> list[list[_Piece]]:
        """The parts of what was refused; the one that is tried first stands last."""
        if isinstance(outcome, Rejected):
            batches = [list(group) for _, group in groupby(pieces, lambda piece: piece.batch)]
            if len(batches) > 1 and all(self._is_too_old(batch) for batch in batches):
                return batches
            named = [piece for number, piece in enumerate(pieces) if number in outcome.named]
            if named and len(named) < len(pieces):
                return [named, [piece for number, piece in enumerate(pieces) if number not in outcome.named]]
            if outcome.field is not None:
                rest, held = self._split_off(pieces, lambda key: key[1] == outcome.field)
                if rest and held:
                    return [held, rest]
        if len(pieces) == 1:
            piece = pieces[0]
            pieces = [_Piece(piece.batch, piece.point, part) for part in by_field(piece.line)]
            self._open[piece.batch].left += len(pieces) - 1
        middle = len(pieces) // 2
        # Between two batches, if there are several.
        cuts = [at for at in range(1, len(pieces)) if pieces[at].batch != pieces[at - 1].batch]
        if cuts:
            middle = min(cuts, key=lambda at: abs(at - middle))
        return [pieces[:middle], pieces[middle:]]

    def _test_alone(self, pieces: list[_Piece]) -> None:
        """Try the newest of each field alone; not all of them each time, if there are many."""
        by_key: dict[Key, list[_Piece]] = {}
        for piece in pieces:
            by_key.setdefault(key_of(piece.line), []).append(piece)
        keys = list(by_key)
        first = self._turn % len(keys)
        keys = keys[first:] + keys[:first]
        self._turn += _TESTED_ALONE
        for number, key in enumerate(keys):
            *others, newest = sorted(by_key[key], key=lambda piece: piece.batch)
            if number < _TESTED_ALONE or key not in self._suspects:
                self._stack.append(_Request([newest], others=others))
            else:
                self._refuse(by_key[key], self._suspects[key])

    # Outcomes

    def _refuse(self, pieces: Sequence[_Piece], reason: str) -> None:
        self._unconfirmed += [(piece, reason) for piece in pieces]
        keys = {
            key_of(piece.line)
            for piece in pieces
            if len(by_field(piece.line)) == 1 and not self._is_older_than_taken(piece)
        }
        if not self.witness or not keys:
            return
        new = keys - self._suspects.keys()
        self._suspects |= dict.fromkeys(keys, reason)
        if new:
            self._keep_apart(new)

    def _keep_apart(self, keys: set[Key]) -> None:
        """Take fields out of what is still to be sent, as they were refused alone meanwhile."""
        apart: list[_Piece] = []
        for group in self._stack:
            if not group.suspects and group.others is None:
                group.pieces, held = self._split_off(group.pieces, keys.__contains__)
                apart += held
        self._stack = [group for group in self._stack if group.pieces or group is _DOUBT]
        if apart:
            self._stack.append(_Request(apart, suspects=True))

    def _resolve(self, piece: _Piece, refused_for: str | None = None) -> None:
        opened = self._open[piece.batch]
        opened.left -= 1
        if refused_for is not None:
            opened.refused.append(RefusedLine(piece.line, refused_for))
            opened.points.add(piece.point)
            opened.is_older = opened.is_older or self._is_older_than_taken(piece)
        if opened.left == 0:
            del self._open[piece.batch]
            self._urgent.discard(piece.batch)
            self._done.append(opened)
            if opened.is_older and not opened.has_accepted:
                self._too_old = max(opened.time, self._too_old)

    # Pieces

    def _divided(self, batch: Batch) -> tuple[list[_Piece], list[_Piece]]:
        """The pieces of a batch without fields that were refused before, and these fields alone."""
        pieces = [_Piece(batch.id, point, line) for point, line in enumerate(batch.lines)]
        if not self._suspects:
            return pieces, []
        return self._split_off(pieces, self._suspects.__contains__, is_open=False)

    def _split_off(
        self, pieces: Sequence[_Piece], is_held: Callable[[Key], bool], is_open: bool = True
    ) -> tuple[list[_Piece], list[_Piece]]:
        """Pieces without some fields, and these fields alone."""
        good: list[_Piece] = []
        held: list[_Piece] = []
        for piece in pieces:
            parts = by_field(piece.line)
            bad = [part for part in parts if is_held(key_of(part))]
            if not bad:
                good.append(piece)
                continue
            rest = [part for part in parts if part not in bad]
            held += [_Piece(piece.batch, piece.point, part) for part in bad]
            if rest:
                good.append(_Piece(piece.batch, piece.point, joined(rest)))
            if is_open:
                self._open[piece.batch].left += len(bad) - (not rest)
        return good, held

    @staticmethod
    def _is_one_key(pieces: Sequence[_Piece]) -> bool:
        """Whether all pieces are the same single field, of different times."""
        if len(pieces) < 2 or len(by_field(pieces[0].line)) != 1:
            return False
        key = key_of(pieces[0].line)
        return all(len(by_field(piece.line)) == 1 and key_of(piece.line) == key for piece in pieces)
