"""Bisection of refused requests: finds the lines and fields that the database does not accept. Pure.

A batch of a refused request is in question. Its lines are divided into pieces, which are sent again:

- A field is set aside once it was refused alone, with its points that were refused in the same request before.
  The field is then a suspect: it is sent apart from others until the database accepts it again.
- A line is set aside if it was refused alone and a newer reading of the same charger was accepted with the same
  measurement, tags and fields: the line is older than the database keeps. Once a batch was found to be that old,
  an older batch is set aside after one refusal.

A refusal counts only if the database accepts the witness, lines of a newest reading, before and after it:
otherwise it may refuse everything for a while. The database's error message only decides what is tried first.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from typing import NamedTuple

from ccl_exporter.outputs.influxdb.client import Accepted, Rejected, RequestTooLarge
from ccl_exporter.outputs.influxdb.line_protocol import Key, by_field, charger_of, joined, key_of, milliseconds_of
from ccl_exporter.outputs.influxdb.spool import Batch, RefusedLine

_CONFIRM_AFTER = 20  # requests after which the witness is sent again
_TESTED_ALONE = 20  # fields of a refused request of suspects that are tested alone; the next ones next time


class _Piece(NamedTuple):
    """A line, or some fields of it as a line: the id of its batch, the line's position there, the text to send."""

    batch: int
    point: int
    line: str


@dataclass(slots=True)
class _Request:
    """Pieces for one request. `suspects`: they are fields that were refused before.

    If `others` is not None, the only piece is tested alone. `others` are older points of its field; they count as
    refused if it is.
    """

    pieces: list[_Piece]
    suspects: bool = False
    others: list[_Piece] | None = None


_DOUBT = _Request([])
"""A marker in the stack: the requests below it wait until a newest reading is accepted."""


@dataclass(slots=True)
class _Open:
    """A batch in question: how many of its pieces are left, and which were refused. `time`: Unix milliseconds."""

    batch: Batch
    charger: str | None
    left: int
    time: float
    has_accepted: bool = False
    is_older: bool = False
    """Whether a piece was refused whose fields were accepted in the newest reading."""
    refused: list[RefusedLine] = field(default_factory=list)
    points: set[int] = field(default_factory=set)


def _opened(batch: Batch, pieces: int) -> _Open:
    first = batch.lines[0] if batch.lines else ""
    time = milliseconds_of(first)
    return _Open(batch, charger_of(first) if first else None, pieces, inf if time is None else time)


class Bisection:
    """Divides the batches in question request by request: send `request`, pass the outcome to `answered`.

    Without a `witness` no refusal counts. If it `has_to_confirm`, send the witness again; then call `confirm` if
    the database accepts it, `forget` if it refuses it.
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
        self._too_old = -inf  # Unix milliseconds of the newest batch that was found to be too old
        self._done: list[_Open] = []
        self._urgent: set[int] = set()

    @property
    def size(self) -> int:
        """Number of pieces that are still to be sent."""
        return sum(len(group.pieces) for group in self._stack)

    @property
    def is_idle(self) -> bool:
        return not self._stack and not self._unconfirmed

    @property
    def is_busy_with_newest(self) -> bool:
        """Whether newest readings are in question, or no newest reading is accepted yet.

        The fields that are found bad in them are kept apart in later batches.
        """
        return bool(self._urgent) or not (self.is_idle or self.witness)

    @property
    def is_plain(self) -> bool:
        """Whether the next request has no suspects and tests no field alone; there must be a next request."""
        return not self._stack[-1].suspects and self._stack[-1].others is None

    @property
    def witness(self) -> tuple[str, ...]:
        """Accepted lines of a charger's newest reading; empty if none are known."""
        if self._witness is None or self._newest[self._witness[0]] != self._witness[1]:
            return ()
        return self._witness[2]

    @property
    def has_to_confirm(self) -> bool:
        """Whether the witness is to be sent again; only then the refusals since count."""
        return bool(self._unconfirmed and self.witness) and (self._since >= _CONFIRM_AFTER or not self._stack)

    # Whole batches

    def without_suspects(self, batches: Iterable[Batch]) -> list[str]:
        """The lines of batches without the suspects."""
        return [piece.line for batch in batches for piece in self._divided(batch)[0]]

    def passed(self, batches: Iterable[Batch]) -> None:
        """Note the newest batch of each charger."""
        for batch in batches:
            charger = charger_of(batch.lines[0]) if batch.lines else None
            if charger is not None:
                self._newest[charger] = max(batch.id, self._newest.get(charger, 0))

    def accepted(self, batches: Sequence[Batch], are_newest: bool) -> None:
        """Note that a request of batches without their suspects was accepted; the suspects are tried next."""
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
        """Put batches in question; `outcome` is that of a request of all of them without their suspects."""
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
            # With a witness, few requests complete whole batches. Without one, a reading has to be accepted first.
            self._stack += [*whole, *apart] if self.witness else [*apart, *whole]

    def settled(self) -> list[tuple[Batch, list[RefusedLine], int]]:
        """Batches completed since the last call, each with its refused lines and the number of their points."""
        done, self._done = self._done, []
        return [(item.batch, item.refused, len(item.points)) for item in done]

    def forget(self) -> None:
        """Forget the batches in question, the refusals that do not count yet, and the witness."""
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
        """Forget the batches in question, but not the witness."""
        witness, taken = self._witness, dict(self._taken)
        self.forget()
        self._witness, self._taken = witness, taken

    def confirm(self) -> None:
        """Note that the witness is still accepted: the refusals since then count."""
        unconfirmed, self._unconfirmed, self._since = self._unconfirmed, [], 0
        for piece, reason in unconfirmed:
            self._resolve(piece, reason)

    # Requests

    def request(self) -> list[str]:
        """The lines to send next; none if there are none, or if all others wait for an accepted newest reading."""
        while self.witness and self._stack and self._stack[-1] is _DOUBT:
            self._stack.pop()
        return [piece.line for piece in self._stack[-1].pieces] if self._stack else []

    def answered(self, outcome: Accepted | Rejected | RequestTooLarge) -> None:
        """Process the outcome of `request`."""
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
        """Note that lines of a charger's newest reading were accepted, and make them the witness.

        `is_confirmed`: there was a witness before, so the refusals since count; otherwise they are sent again.
        """
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
        """Send the refused pieces again: the database may have refused everything then."""
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
        """Whether these pieces are too old: a single line, or a whole batch if a newer one was found to be so."""
        opened = self._open[pieces[0].batch]
        is_whole = (
            opened.time <= self._too_old
            and len({piece.point for piece in pieces}) == len(opened.batch.lines)
            and all(piece.batch == opened.batch.id for piece in pieces)
        )
        return (is_whole or len(pieces) == 1) and all(map(self._is_older_than_taken, pieces))

    def _is_older_than_taken(self, piece: _Piece) -> bool:
        """Whether a newer reading of the same charger was accepted with the same measurement, tags and fields."""
        newest, keys = self._taken.get(str(self._open[piece.batch].charger), (0, set[Key]()))
        return piece.batch < newest and all(key_of(part) in keys for part in by_field(piece.line))

    def _parts(self, pieces: list[_Piece], outcome: Rejected | RequestTooLarge) -> list[list[_Piece]]:
        """The parts of refused pieces; the last part is tried first."""
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
        # If there are several batches, the cut is between two.
        cuts = [at for at in range(1, len(pieces)) if pieces[at].batch != pieces[at - 1].batch]
        if cuts:
            middle = min(cuts, key=lambda at: abs(at - middle))
        return [pieces[:middle], pieces[middle:]]

    def _test_alone(self, pieces: list[_Piece]) -> None:
        """Test the newest point of each field alone; of many suspects only some, the others count as refused."""
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
        """Take fields that were refused alone out of the other requests, into one of suspects."""
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
        """The pieces of a batch without its suspects, and the suspects, one field a piece."""
        pieces = [_Piece(batch.id, point, line) for point, line in enumerate(batch.lines)]
        if not self._suspects:
            return pieces, []
        return self._split_off(pieces, self._suspects.__contains__, is_open=False)

    def _split_off(
        self, pieces: Sequence[_Piece], is_held: Callable[[Key], bool], is_open: bool = True
    ) -> tuple[list[_Piece], list[_Piece]]:
        """The pieces without some fields, and these fields, one a piece."""
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
        """Whether there are several pieces, all of the same single field."""
        if len(pieces) < 2 or len(by_field(pieces[0].line)) != 1:
            return False
        key = key_of(pieces[0].line)
        return all(len(by_field(piece.line)) == 1 and key_of(piece.line) == key for piece in pieces)
