"""The writes that an hour has: each wears out the charger's memory (flash). Pure."""

from collections import deque
from collections.abc import Iterable

HOUR = 3600.0
_BURST = 600.0
_LEAST_RESERVE = 5


class Budget:
    """At most `most` writes in any hour; `reserve` of them are kept for what cannot wait. Times in seconds."""

    def __init__(self, most: int, written: Iterable[float] = ()) -> None:
        self.most = most
        self.reserve = max(most // 5, _LEAST_RESERVE)
        self._written = deque(sorted(written))

    def spend(self, now: float) -> None:
        self._written.append(now)

    def left(self, now: float) -> int:
        """How many may still be made."""
        while self._written and self._written[0] <= now - HOUR:
            self._written.popleft()
        return self.most - len(self._written)

    def strain(self, now: float) -> float:
        """How sparing to be: 0 with all to spend, 1 when only the reserve is left or a burst used its share."""
        spendable = self.most - self.reserve
        spent = (self.most - self.left(now)) / spendable
        burst = sum(at > now - _BURST for at in self._written) / (2 * spendable * _BURST / HOUR)
        return min(max(spent, burst), 1.0)
