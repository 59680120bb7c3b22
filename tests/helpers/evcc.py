"""What evcc does each minute with a charger of type `custom`: it reads, compares what it expected, and commands.

Its plugins `http`, `combined` and `script`, and its loadpoint in the mode "pv" without phase switching,
by the source of evcc 0.313. Watts, amperes, seconds.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import jq

from ccl_exporter.text import parse_duration

INTERVAL = 60.0
MINIMUM, MAXIMUM = 6, 16
"""Whole amperes: the defaults of a loadpoint."""

_VOLTS = 230.0
_ENABLE_DELAY, _DISABLE_DELAY = 60.0, 180.0
_SWITCHING = 60.0
"""How long it does not compare after a switch."""

_YES_OR_NO = {"true": True, "1": True, "false": False, "0": False}
_ENABLE = re.compile(r"\{\{if \.enable\}\}(\w+)\{\{else\}\}(\w+)\{\{end\}\}")


class PluginError(Exception):
    """What a plugin returns instead of a value."""


@dataclass
class Plugins:
    """The plugins that a charger is made of: `fetch` is a GET, `run` a command, with its exit code."""

    fetch: Callable[[str], bytes]
    run: Callable[[str], int]
    now: Callable[[], float]
    fetched: dict[str, tuple[float, bytes]] = field(default_factory=dict)

    def text(self, plugin: Mapping[str, str]) -> str:
        """What the one result of the expression is printed as."""
        try:
            (found,) = jq.compile(plugin["jq"]).input_text(self._body(plugin).decode()).all()
        except ValueError as error:  # no result, several, or one that is an error
            raise PluginError(f"jq: {error}") from error
        return "<nil>" if found is None else json.dumps(found)

    def number(self, plugin: Mapping[str, str]) -> float:
        try:
            return float(self.text(plugin))
        except ValueError as error:
            raise PluginError(str(error)) from error

    def is_so(self, plugin: Mapping[str, str]) -> bool:
        try:
            return _YES_OR_NO[self.text(plugin)]
        except KeyError as error:
            raise PluginError(f"{error} is neither true nor false") from error

    def status(self, plugin: Mapping[str, Any]) -> str:
        """`A` without a vehicle, `B` with one, `C` while it charges."""
        assert plugin["source"] == "combined"
        if self.is_so(plugin["charging"]):
            return "C"
        return "B" if self.is_so(plugin["plugged"]) else "A"

    def command(self, plugin: Mapping[str, str], **values: int | bool) -> None:
        command = plugin["cmd"]
        if "enable" in values:
            command = _ENABLE.sub(r"\1" if values["enable"] else r"\2", command)
        else:
            command = command.replace("${maxcurrent:%d}", str(values["maxcurrent"]))
        if code := self.run(command):
            raise PluginError(f"{command}: exit status {code}")

    def _body(self, plugin: Mapping[str, str]) -> bytes:
        assert plugin["source"] == "http"
        kept = self.fetched.get(plugin["uri"])
        if kept is None or self.now() - kept[0] >= parse_duration(plugin["cache"]):
            kept = self.fetched[plugin["uri"]] = (self.now(), self.fetch(plugin["uri"]))
        return kept[1]


@dataclass
class Loadpoint:
    """A charger in the mode "pv"; `log` holds what it warns of and calls an error."""

    charger: Mapping[str, Any]
    plugins: Plugins
    enabled: bool = False
    offered: int = 0
    status: str = ""
    log: list[str] = field(default_factory=list)
    _switched: float = -inf
    _timer: float | None = None

    def prepare(self) -> None:
        """Begin: a charger that is enabled is not switched off at once."""
        self.enabled = self.plugins.is_so(self.charger["enabled"])
        if self.enabled:
            self._limit(MINIMUM)

    def cycle(self, surplus: float) -> None:
        """One round, while the house has so many watts to spare without the car."""
        power = 0.0
        try:
            power = self.plugins.number(self.charger["power"])
        except PluginError as error:
            self.log.append(f"ERROR charge power: {error}")
        try:
            self._read_status()
            self._compare()
            self._limit(self._current(surplus - power) if self.status != "A" else 0)
        except PluginError as error:
            self.log.append(f"ERROR {error}")

    def enable(self, enabled: bool) -> None:
        """Switch the charger, as the button of the page does."""
        self.plugins.command(self.charger["enable"], enable=enabled)
        self.enabled, self._switched = enabled, self.plugins.now()
        if not enabled:
            self.offered = 0  # so that it is set again with the next start

    def _read_status(self) -> None:
        before, self.status = self.status, self.plugins.status(self.charger["status"])
        if before in ("", "A") and self.status != "A":
            self._timer = -inf  # a vehicle that comes need not wait
        elif before == "C" != self.status and self._timer != -inf:
            self._timer = None

    def _compare(self) -> None:
        enabled = self.plugins.is_so(self.charger["enabled"])
        is_settled = self.plugins.now() - self._switched > _SWITCHING
        if not enabled and self.status == "C":
            self.log.append("WARN charger logic error: disabled but charging")
            if is_settled:
                self.enable(True)
        elif is_settled and enabled != self.enabled and (enabled or self.status != "A"):
            self.log.append(f"WARN charger out of sync: expected {self.enabled}, got {enabled}")
        if is_settled:
            self.enabled = enabled or self.status == "C"

    def _current(self, export: float) -> float:
        """The current that the sun is enough for; 0 to switch off, with a delay."""
        target = max((self.offered if self.status == "C" else 0) + export / _VOLTS, 0.0)
        if not self.enabled:
            return MINIMUM if self._is_over(_ENABLE_DELAY, target >= MINIMUM) else 0
        if target >= MINIMUM:
            self._timer = None
            return target
        return 0 if self._is_over(_DISABLE_DELAY, export <= 0) else MINIMUM

    def _is_over(self, delay: float, reason: bool) -> bool:
        """Whether there has been a reason to switch for so long."""
        if not reason:
            self._timer = None
        elif self._timer is None:
            self._timer = self.plugins.now()
        if self._timer is None or self.plugins.now() - self._timer < delay:
            return False
        self._timer = None
        return True

    def _limit(self, current: float) -> None:
        amperes = min(int(current), MAXIMUM)
        if amperes not in (self.offered, 0):
            self.plugins.command(self.charger["maxcurrent"], maxcurrent=amperes)
            self.offered = amperes
        if (amperes > 0) is not self.enabled:
            self.enable(amperes > 0)
