"""What one engine is known to understand, and requests for several names at once.

Separators between parameters differ from engine to engine (protocol 6): nothing is assumed, an answer decides.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from ccl_exporter.errors import Absent, Garbled, TimedOut
from ccl_exporter.powerstudio.endpoints import Endpoint
from ccl_exporter.powerstudio.learned import Facts
from ccl_exporter.powerstudio.transport import Transport

SEPARATORS = ("&", "?")

_Parsed = TypeVar("_Parsed")


class NegotiatedDialect:
    """The dialect of one engine as learned so far; all requests for documents go through it.

    Deadlines are by the transport's clock.
    `absent` holds the paths of documents that the engine was found not to have; they are not asked for again
    until it is cleared, as with each new inventory.
    `charset` is how names that are not ASCII are written: UTF-8, as answers are, unless it finds nothing.
    `doubt` says that a strategy was skipped although the engine did not reject it.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.forget()

    @property
    def separators(self) -> tuple[str, ...]:
        """Separators that this engine is known to understand."""
        return tuple(dict.fromkeys(self._proven.values()))

    def forget(self) -> None:
        """Forget everything: the engine has restarted, or there was doubt."""
        self.doubt = False
        self.charset = "utf-8"
        self.absent: set[str] = set()
        self._present: set[str] = set()
        self._proven: dict[Endpoint, str] = {}
        self._refuted: set[tuple[Endpoint, str]] = set()

    def facts(self) -> Facts:
        """What was learned, to be stored."""
        return {
            "charset": self.charset,
            "absent": sorted(self.absent),
            "present": sorted(self._present),
            "proven": [[ask.path, ask.parameter, separator] for ask, separator in self._proven.items()],
            "refuted": sorted([ask.path, ask.parameter, separator] for ask, separator in self._refuted),
        }

    def recall(self, facts: Facts) -> None:
        """Take over what was learned and stored before."""
        self.doubt = False
        self.charset = facts["charset"]
        self.absent, self._present = set(facts["absent"]), set(facts["present"])
        self._proven = {Endpoint(*ask): separator for *ask, separator in facts["proven"]}
        self._refuted = {(Endpoint(*ask), separator) for *ask, separator in facts["refuted"]}

    def document(self, path: str, parse: Callable[[bytes], _Parsed], deadline: float) -> _Parsed:
        """A document without parameters; raises `Absent` without a request where that is known.

        A document that the engine had before and does not have now raises `Garbled`.
        """
        if path in self.absent:
            raise Absent(f"the engine has no {path}")
        try:
            parsed = parse(self.transport.get(path, deadline))
        except Absent as error:
            if path in self._present:
                raise Garbled(f"{error}, though it had this document before") from error
            self.absent.add(path)
            raise
        self._present.add(path)
        return parsed

    def one(self, question: Endpoint, name: str, parse: Callable[[bytes], _Parsed], deadline: float) -> _Parsed:
        """The answer for a single name, which needs no separator."""
        return parse(self.transport.get(question.target([name], charset=self.charset), deadline))

    def several(
        self,
        question: Endpoint,
        names: Sequence[str],
        parse: Callable[[bytes], _Parsed],
        covered: Callable[[_Parsed], int],
        deadline: float,
        separators: Sequence[str] = SEPARATORS,
    ) -> _Parsed | None:
        """The answer for several names at once, or None if the engine does not take several here.

        A separator is proven when at least two of the names come back, which `covered` counts.
        Until then `separators` are tried, after those that another question has proven.
        Each gets a third of the time that is left, as a request may hang a server.
        Once proven, errors are raised; `Absent` if no more than one name came back.
        """
        separator = self._proven.get(question)
        if separator is not None:
            parsed = parse(self.transport.get(question.target(names, separator, self.charset), deadline))
            if covered(parsed) < 2:
                raise Absent("of several names in one request no more than one came back")
            return parsed
        for candidate in dict.fromkeys((*self.separators, *separators)):
            if (question, candidate) in self._refuted:
                continue
            left = deadline - self.transport.clock.monotonic()
            try:
                parsed = parse(
                    self.transport.get(question.target(names, candidate, self.charset), deadline - left * 2 / 3)
                )
            except (Garbled, TimedOut):
                self.doubt = True
            except Absent:
                pass
            else:
                if covered(parsed) >= 2:
                    self._proven[question] = candidate
                    return parsed
            self._refuted.add((question, candidate))
        return None

    def disprove(self, question: Endpoint) -> None:
        """Stop requesting several names at this endpoint: its separator no longer works."""
        separator = self._proven.pop(question, None)
        if separator is not None:
            self._refuted.add((question, separator))
            self.doubt = True
