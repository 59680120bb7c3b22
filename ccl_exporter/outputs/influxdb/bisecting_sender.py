"""Delivering lines to a database that may refuse some: the good ones arrive, the bad ones are found.

What is refused is split, down to single fields: a field of another type in the database must not cost
the others of its line, which InfluxDB would leave out with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from ccl_exporter.outputs.influxdb.client import Accepted, Outcome, Rejected, RequestTooLarge, RetryLater
from ccl_exporter.outputs.influxdb.line_protocol import by_field, field_of
from ccl_exporter.outputs.influxdb.spool import RefusedLine

_TOO_OLD = (
    "beyond retention policy",
    "outside retention policy",
)  # InfluxDB 1 and 2; of whole lines


@dataclass(frozen=True, slots=True)
class Delivered:
    """Everything arrived but what was refused; `rejected` counts the points that this was a part of.

    `nothing` says that nothing at all arrived, and not because it is too old: perhaps it is not about the lines.
    The sender may have given up then before it had sent each field alone.
    """

    refused: tuple[RefusedLine, ...] = ()
    rejected: int = 0
    nothing: bool = False


_Piece = tuple[int, str]
"""A line, or one field of it, with the number of its point."""


class BisectingSender:
    """Sends lines through `write`; remembers which fields were refused, to send them apart from the others."""

    def __init__(self, write: Callable[[Sequence[str]], Outcome]) -> None:
        self._write = write
        self._suspects: set[tuple[str, str]] = set()
        self._suspected: list[_Piece] = []
        self._pending: list[list[_Piece]] = []
        self._refused: list[tuple[_Piece, str]] = []
        self._nothing = True
        self._most: float = inf
        self._refusals = 0

    def begin(self, lines: Sequence[str], most: float = inf) -> None:
        """Take lines to deliver, in the place of any others; given up after `most` refusals of everything."""
        good, self._suspected = self._sorted(lines)
        self._pending = [pieces for pieces in (self._suspected, good) if pieces]
        self._refused = []
        self._nothing = True
        self._most = most
        self._refusals = 0

    def go_on(self) -> Delivered | RetryLater | None:
        """Send one request; None if there is more to send, the result once each line arrived or was refused alone.

        `RetryLater` if the database cannot be had now: what arrived is not sent again by the next call.
        """
        if self._pending:
            outcome = self._write([line for _, line in self._pending[-1]])
            if isinstance(outcome, RetryLater):
                return outcome
            self._take(outcome)
        return self._result()

    def refuse(self, reason: str) -> Delivered | None:
        """Treat what is to be sent next as refused, as by an answer."""
        self._take(Rejected(reason))
        return self._result()

    def _take(self, outcome: Accepted | Rejected | RequestTooLarge) -> None:
        pieces = self._pending.pop()
        if isinstance(outcome, Accepted):
            if pieces is self._suspected:
                self._suspects.clear()
            self._something_arrived()
            return
        hopeless = _hopeless(outcome, pieces)
        self._refusals += hopeless or isinstance(outcome, Rejected)
        if isinstance(outcome, Rejected) and outcome.dropped is not None and outcome.dropped < len(pieces):
            self._something_arrived()
        if not hopeless:
            self._pending += reversed(_halves(pieces))
            return
        if _too_old(outcome):
            self._something_arrived()
        else:
            self._suspects |= {field_of(line) for _, line in pieces}
        self._refused += [(piece, outcome.reason) for piece in pieces]

    def _something_arrived(self) -> None:
        if self._nothing and self._refused:
            # Perhaps no line was at fault before: what was refused until now is sent once more.
            self._suspected = [piece for piece, _ in self._refused]
            self._pending.insert(0, self._suspected)
            self._refused = []
        self._nothing = False

    def _result(self) -> Delivered | None:
        gives_up = self._nothing and self._refusals >= self._most
        if self._pending and not gives_up:
            return None
        refused = tuple(RefusedLine(line, reason) for (_, line), reason in self._refused)
        points = {point for (point, _), _ in self._refused}
        return Delivered(refused, len(points), self._nothing and self._refusals > 0)

    def _sorted(self, lines: Sequence[str]) -> tuple[list[_Piece], list[_Piece]]:
        """Lines without the fields that were refused before, and these fields alone."""
        numbered = list(enumerate(lines))
        if not self._suspects:
            return numbered, []
        good: list[_Piece] = []
        suspected: list[_Piece] = []
        for point, line in numbered:
            pieces = by_field(line)
            bad = [piece for piece in pieces if field_of(piece) in self._suspects]
            suspected += [(point, piece) for piece in bad]
            good += [(point, piece) for piece in pieces if piece not in bad] if bad else [(point, line)]
        return good, suspected


def _hopeless(outcome: Outcome, pieces: Sequence[_Piece]) -> bool:
    """Whether nothing of this would be taken alone: a single field, or all were left out and none for another."""
    single = all(len(by_field(line)) == 1 for _, line in pieces)
    if len(pieces) == 1:
        return single
    if not isinstance(outcome, Rejected) or outcome.dropped != len(pieces):
        return False
    return single or _too_old(outcome)


def _too_old(outcome: Outcome) -> bool:
    return isinstance(outcome, Rejected) and any(words in outcome.reason for words in _TOO_OLD)


def _halves(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Two halves of several lines, or of the fields of one."""
    if len(pieces) == 1:
        point, line = pieces[0]
        pieces = [(point, piece) for piece in by_field(line)]
    middle = len(pieces) // 2
    return [list(pieces[:middle]), list(pieces[middle:])]
