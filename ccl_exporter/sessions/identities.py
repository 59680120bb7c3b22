"""The charger at each URL, identified by the smallest id of its plugs, which is the same at any address. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple


class KnownCharger(NamedTuple):
    """The charger that answered at a URL: its id (the URL if it reports none) and its name in the configuration.

    A copied configuration image gives several chargers one id: each of them `is_copy`.
    """

    id: str
    name: str
    is_copy: bool = False


class Identities:
    """The known chargers by URL."""

    def __init__(self, known: Mapping[str, KnownCharger]) -> None:
        self.known = dict(known)
        self.same: set[frozenset[str]] = set()
        """Pairs of URLs that lead to the same charger."""
        self._latest: dict[str, str] = {}
        self._earlier: defaultdict[str, set[str]] = defaultdict(set)

    def key(self, url: str) -> str:
        """The key of the charger at a URL: its id; the URL if the id is unknown or shared with another charger."""
        found = self.known.get(url)
        return url if found is None or found.is_copy else found.id

    def other(self, url: str, id: str) -> str | None:
        """Note that an id was read at a URL; the URL that it alternates with, None if there is none.

        Alternating URLs are two chargers with one id, or two URLs of one charger: a charger that was moved does
        not answer at its old URL again.
        """
        latest, self._latest[id] = self._latest.get(id), url
        if latest is None or latest == url or frozenset((url, latest)) in self.same:
            return None
        self._earlier[id].add(latest)
        return latest if url in self._earlier[id] else None

    def copied(self, id: str) -> bool:
        """Whether several chargers are known to share an id."""
        return any(charger.is_copy and charger.id == id for charger in self.known.values())
