"""The chargers that may be read: those of the configuration by name, and those of networks that it admits.

No other host is ever contacted, so a probe cannot be used to reach others (SSRF).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from ccl_exporter.errors import UsageError
from ccl_exporter.exporter.charger import DESCRIBE_WITHIN, MOST_ABSENT_READS, Charger, LastingFilter
from ccl_exporter.http_client import addresses_of
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.sessions.recorder import SessionRecorder
from ccl_exporter.settings import DEFAULT_MAX_POWER, ChargerSettings, Settings, charger_settings
from ccl_exporter.text import url_host

_RESOLVE_WITHIN = 5.0  # seconds
_NOT_ADMITTED = "this target is not in the configuration, nor in a network that it admits"

MOST_UNNAMED_TARGETS = 1000
"""Chargers without a name that are remembered; each holds its inventory."""


class TargetRegistry:
    """Hands out the one reader of each charger; safe to be called from several threads.

    `recorder` keeps the levels of the chargers' registers.
    `transport` makes what asks a charger, by default over the network.
    """

    def __init__(
        self,
        settings: Settings,
        state: Path | None,
        recorder: SessionRecorder | None = None,
        transport: Callable[[ChargerSettings], Transport | None] = lambda _: None,
    ) -> None:
        self._state = state
        self._recorder = recorder
        self._transport = transport
        self._lock = threading.Lock()
        self._absent_reads = threading.Semaphore(MOST_ABSENT_READS)
        self.settings = settings
        if recorder is not None:
            recorder.configured_names = self._configured_names
        self._names = _by_url(settings)
        self._chargers: dict[str, Charger] = {}
        self._unnamed_targets: OrderedDict[str, Charger] = OrderedDict()

    def update(self, settings: Settings) -> None:
        """Take new settings; a charger that is still read in the same way keeps what was learned of it.

        Any other keeps at least its filter: values that are held back stay so.
        """
        with self._lock:
            self.settings, self._names = settings, _by_url(settings)
            for name, charger in list(self._chargers.items()):
                now = settings.chargers.get(name)
                if now is None:
                    del self._chargers[name]
                elif _asked(now) != _asked(charger.settings):
                    self._chargers[name] = self._charger(now, charger.register_filter)
                else:
                    charger.settings = now
            for url in list(self._unnamed_targets):
                if url in self._names or not self._is_admitted(urlsplit(url).hostname or ""):
                    del self._unnamed_targets[url]

    def _configured_names(self) -> Collection[str]:
        return self.settings.chargers.keys()

    def named(self, name: str) -> Charger | None:
        """The charger of this name in the configuration; None if there is none."""
        with self._lock:
            settings = self.settings.chargers.get(name)
            if settings is not None and name not in self._chargers:
                self._chargers[name] = self._charger(settings)
            return self._chargers.get(name)

    def chargers(self) -> Sequence[Charger]:
        """All chargers of the configuration, in its order."""
        return [charger for name in self.settings.chargers if (charger := self.named(name)) is not None]

    def known(self) -> Sequence[Charger]:
        """All chargers that were read or are configured, including those without a name."""
        with self._lock:
            return [*self._chargers.values(), *self._unnamed_targets.values()]

    def target(self, text: str) -> Charger:
        """The charger that a probe asks for; raises `UsageError` for any other host, which is not contacted."""
        charger = self.named(text)
        if charger is not None:
            return charger
        if not self.settings.allow:
            raise UsageError("this target is not in the configuration")
        given = charger_settings(text, {})
        unnamed = self._admitted(given)
        # Who is asked for by URL or address is no second charger, with a reader and charges of its own.
        name = self._names.get(given.url) or self._names.get(unnamed.url, "")
        if (charger := self.named(name)) is not None:
            return charger
        with self._lock:
            if not self._is_admitted(urlsplit(unnamed.url).hostname or ""):
                raise UsageError(_NOT_ADMITTED)  # by settings that have come meanwhile
            if unnamed.url not in self._unnamed_targets:
                self._unnamed_targets[unnamed.url] = self._charger(unnamed)
            self._unnamed_targets.move_to_end(unnamed.url)
            while len(self._unnamed_targets) > MOST_UNNAMED_TARGETS:
                self._unnamed_targets.popitem(last=False)
            return self._unnamed_targets[unnamed.url]

    def _charger(self, settings: ChargerSettings, register_filter: LastingFilter | None = None) -> Charger:
        if register_filter is None and self._recorder is not None:
            register_filter = LastingFilter(self._recorder)
        return Charger(
            settings,
            self._state,
            absent_reads=self._absent_reads,
            transport=self._transport(settings),
            register_filter=register_filter,
            describe=DESCRIBE_WITHIN,
        )

    def _admitted(self, settings: ChargerSettings) -> ChargerSettings:
        """A host of an admitted network, by its resolved address, so that its name cannot lead elsewhere later."""
        parts = urlsplit(settings.url)
        try:
            found = addresses_of(parts.hostname or "", parts.port or 80, _RESOLVE_WITHIN)
        except OSError as error:
            raise UsageError("this target is not in the configuration and its name is not known") from error
        addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
        if not all(map(self._is_admitted, addresses)):
            raise UsageError(_NOT_ADMITTED)
        port = f":{parts.port}" if parts.port is not None else ""
        return replace(settings, url=f"{parts.scheme}://{url_host(addresses[0])}{port}{parts.path}")

    def _is_admitted(self, address: str) -> bool:
        return any(ip_address(address.partition("%")[0]) in network for network in self.settings.allow)


def _by_url(settings: Settings) -> dict[str, str]:
    return {charger.url: name for name, charger in settings.chargers.items()}


def _asked(settings: ChargerSettings) -> ChargerSettings:
    """The settings by which a charger is asked, without those of what is shown of it."""
    return replace(settings, labels={}, exclude=(), title="", plug_titles={}, max_power=DEFAULT_MAX_POWER)
