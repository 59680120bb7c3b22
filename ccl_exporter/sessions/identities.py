"""Which charger answers at which URL: known by the smallest id of its plugs, the same at any address. Pure."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple


class KnownCharger(NamedTuple):
    """What answered at a URL: its id, the URL where it has none, and its name in the configuration.

    Ids are copied with a configuration image; a charger `is_copy` if another one that answers has its id too.
    """

    id: str
    name: str
    is_copy: bool = False


class Identities:
    """The chargers by URL."""

    def __init__(self, known: Mapping[str, KnownCharger]) -> None:
        self.known = dict(known)
        self.same: set[frozenset[str]] = set()
        """Pairs of URLs that lead to the same charger."""
        self._latest: dict[str, str] = {}
        self._earlier: defaultdict[str, set[str]] = defaultdict(set)

    def key(self, url: str) -> str:
        """What the charger at a URL is known by: its id, the URL if that is not known or not its own."""
        found = self.known.get(url)
        return url if found is None or found.is_copy else found.id

    def other(self, url: str, id: str) -> str | None:
        """The other URL at which the id was read in turns with this one; None if there is none.

        A charger that was moved to another address does not answer at its old one again.
        """
        latest, self._latest[id] = self._latest.get(id), url
        if latest is None or latest == url or frozenset((url, latest)) in self.same:
            return None
        self._earlier[id].add(latest)
        return latest if url in self._earlier[id] else None

    def copied(self, id: str) -> bool:
        """Whether several chargers have an id."""
        return any(charger.is_copy and charger.id == id for charger in self.known.values())
