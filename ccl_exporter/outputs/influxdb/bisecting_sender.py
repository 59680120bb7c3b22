"""Delivering lines to a database that may refuse some: the good ones arrive, the bad ones are found.

What is refused is split, down to single fields: a field of another type in the database must not cost
the others of its line, which InfluxDB would leave out with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ccl_exporter.outputs.influxdb.client import Accepted, Outcome, Rejected, RetryLater
from ccl_exporter.outputs.influxdb.line_protocol import by_field, field_of
from ccl_exporter.outputs.influxdb.spool import RefusedLine

_TOO_OLD = "beyond retention policy"  # of InfluxDB 1 and 2; a line is too old with all its fields


@dataclass(frozen=True, slots=True)
class Delivered:
    """Everything arrived but what was refused; `rejected` counts the points that this was a part of.

    `nothing` says that nothing at all arrived, and not because it is too old: perhaps it is not about the lines.
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
        self._refused: list[RefusedLine] = []
        self._points: set[int] = set()
        self._nothing = True

    def begin(self, lines: Sequence[str]) -> None:
        """Take lines to deliver, in the place of any others."""
        good, self._suspected = self._sorted(lines)
        self._pending = [pieces for pieces in (self._suspected, good) if pieces]
        self._refused = []
        self._points = set()
        self._nothing = True

    def go_on(self) -> Delivered | RetryLater:
        """Send until each line has arrived or was refused alone.

        `RetryLater` if the database cannot be had now: what arrived is not sent again by the next call.
        """
        while self._pending:
            pieces = self._pending[-1]
            outcome = self._write([line for _, line in pieces])
            if isinstance(outcome, RetryLater):
                return outcome
            self._pending.pop()
            if isinstance(outcome, Accepted):
                self._nothing = False
                if pieces is self._suspected:
                    self._suspects.clear()
            elif _hopeless(outcome, pieces):
                self._refused += [RefusedLine(line, outcome.reason) for _, line in pieces]
                self._points |= {point for point, _ in pieces}
                if isinstance(outcome, Rejected) and _TOO_OLD in outcome.reason:
                    self._nothing = False
                else:
                    self._suspects |= {field_of(line) for _, line in pieces}
            else:
                self._pending += reversed(_halves(pieces))
        return Delivered(tuple(self._refused), len(self._points), self._nothing and bool(self._refused))

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
    return single or _TOO_OLD in outcome.reason


def _halves(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Two halves of several lines, or of the fields of one."""
    if len(pieces) == 1:
        point, line = pieces[0]
        pieces = [(point, piece) for piece in by_field(line)]
    middle = len(pieces) // 2
    return [list(pieces[:middle]), list(pieces[middle:])]
