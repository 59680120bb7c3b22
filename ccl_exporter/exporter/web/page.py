"""The live page: every charger at a glance, and below it all that its devices say. Pure: snapshots to HTML.

What a charger says is hostile input: it passes through `_text` and nowhere else into the page.
"""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Family, Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.powerstudio.advice import failure
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.rows import VariableRow, variable_rows
from ccl_exporter.station.values import Reading
from ccl_exporter.text import format_number

STALE = 120.0
"""Seconds after which values are called old: nobody should take them for the present."""

LEAST_AMPERES = 6.0
"""A vehicle cannot be offered less (IEC 61851-1)."""

_NOTHING = "\N{EN DASH}"

_STYLE = files("ccl_exporter.exporter.web").joinpath("page.css").read_text(encoding="utf-8")
_PAGE = Template(files("ccl_exporter.exporter.web").joinpath("page.html").read_text(encoding="utf-8"))

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The header to serve the page with: its own stylesheet and nothing else may be used."""

_FAULTS = {
    "cfg": "configuration",
    "master": "master unit",
    "beacon": "lamp",
    "lock": "plug lock",
    "supply": "mains supply",
    "rcd": "residual-current device (RCD)",
    "emergency": "emergency stop",
    "ev_communication_device": "communication with the vehicle",
    "reader": "card reader",
    "type": "device type",
    "version": "firmware version",
    "other": "another fault",
    "unknown": "unknown fault",
}
_STOPS = {
    "user": "by its user",
    "scheduler": "by the schedule",
    "credits": "when the credit was used up",
    "disconnect": "by the vehicle",
    "remote": "remotely",
    "timer": "when its time was over",
    "disabled": "when the plug was switched off",
    "error": "by a fault",
    "vehicle_communication": "by a failure to communicate with the vehicle",
    "vehicle_over_current": "because the vehicle took too much current",
    "unknown": "for an unknown reason",
}
_WAITING = {
    "not_initialised": "The charger is still starting up.",
    "available": "No vehicle is connected.",
    "reserved": "The plug is reserved for somebody.",
    "waiting_for_vehicle": "A charge is allowed; the vehicle is not connected yet.",
    "waiting_for_permission": "Permission is missing: show a card, or start the charge remotely.",
    "waiting_for_schedule": "The schedule does not allow it yet.",
    "waiting_for_power": "There is not enough power for it now.",
    "starting": "The charge is starting; power will flow in a moment.",
    "resuming": "The charge is resuming; power will flow in a moment.",
    "pausing": "The charge is being paused.",
    "paused": "The charge is paused.",
    "stopping": "The charge is being ended{ended}.",
    "waiting_for_disconnection": "The charge was ended{ended}; the vehicle can be unplugged.",
}
_BAD_STOPS = ("error", "vehicle_communication", "vehicle_over_current")
_PRESENT = ("starting", "resuming", "charging", "pausing", "paused", "stopping", "waiting_for_power")
_COLOURS = {"available": "calm", "blocked": "wait", "reserved": "wait", "charging": "wait", "outoforder": "bad"}
_OVERVIEW = (
    '<table class="overview"><thead><tr><th scope="col">Charger</th><th scope="col">State</th>'
    '<th scope="col">Power</th><th scope="col">This charge</th><th scope="col">Read</th></tr></thead>\n'
)
_CONNECTED = {True: "connected", False: "not connected", None: _NOTHING}
_LOCKED = {True: "plug locked", False: "plug not locked", None: ""}


@dataclass(frozen=True, slots=True)
class ChargerView:
    """A charger by its configured name, and its latest snapshot; None: not read yet."""

    name: str
    snapshot: Snapshot | None


@dataclass(frozen=True, slots=True)
class Situation:
    """What decides whether a plug charges; None where the charger does not say.

    `flowing` tells whether power flows, `limit` is in amperes, `station` is the state of the station.
    """

    state: str | None = None
    enabled: bool | None = None
    connected: bool | None = None
    faults: Sequence[str] | None = None
    stop: str | None = None
    limit: float | None = None
    flowing: bool | None = None
    station: str | None = None


def why_not_charging(plug: Situation) -> str:
    """Why no power flows, as a sentence; "" if it does."""
    if plug.state == "charging":
        idle = plug.flowing is False
        return "Power is offered, but the vehicle takes none: it may be full or busy." if idle else ""
    if plug.faults or plug.state == "error":
        return f"A fault prevents it: {_faults(plug.faults or ('unknown',))}."
    if plug.state == "disabled" or plug.enabled is False:
        return "The plug is switched off."
    if plug.station in ("error", "disabled", "not_initialised"):
        return f"The state of the whole station is: {_words(plug.station)}."
    ended = f" {_STOPS[plug.stop]}" if plug.stop in _STOPS else ""
    if plug.state == "available" and plug.connected is not False:
        start = "A vehicle is connected, but no" if plug.connected else "No"
        bad = f"; the last one was ended{ended}" if plug.stop in _BAD_STOPS else ""
        return f"{start} charge has been asked for{bad}."
    if plug.state == "waiting_for_vehicle" and plug.connected:
        return "The vehicle is connected, but does not ask for power yet."
    if plug.state == "waiting_for_power" and plug.limit is not None and plug.limit < LEAST_AMPERES:
        return f"The limit of {plug.limit:.1f} A is below the {LEAST_AMPERES:g} A that a vehicle needs."
    return _WAITING.get(plug.state or "", "The charger does not say why.").format(ended=ended)


def page(views: Sequence[ChargerView], now: float, version: str, opened: str = "") -> bytes:
    """The whole page. `now` is in Unix seconds, `opened` the query of the page's address: the device to unfold."""
    again = f"?{opened}" if re.fullmatch("charger-[0-9]{1,6}-device-[0-9]{1,6}", opened) else "."
    chargers = [_ChargerSection(f"charger-{index}", view, now, opened) for index, view in enumerate(views, 1)]
    charging = sum(any(plug.word(f.PLUG_STATE) == "charging" for plug in charger.plugs) for charger in chargers)
    body = [charger.section() for charger in chargers] or ["<p>No charger is configured.</p>"]
    if len(chargers) > 1:
        lines = "\n".join(charger.lines() for charger in chargers)
        body.insert(0, f"{_OVERVIEW}<tbody>{lines}</tbody></table>")
    heading, html = f"Chargers: {charging} of {len(chargers)} charging", "\n".join(body)
    told = {"again": again, "heading": heading, "clock": _time(now), "body": html, "version": _text(version)}
    return _PAGE.substitute(told, style=_STYLE).encode()


class _Told:
    """What the samples of a snapshot tell, of the station or of the plug with this name."""

    def __init__(self, found: Mapping[tuple[str, tuple[str, ...]], Sample], *labels: str) -> None:
        self._found, self._labels = found, labels
        self.name = labels[0] if labels else ""

    def _get(self, family: Family, *labels: str) -> Sample | None:
        return self._found.get((family.name, (*self._labels, *labels)))

    def value(self, family: Family, *labels: str) -> float | None:
        sample = self._get(family, *labels)
        return sample.value if sample is not None else None

    def flag(self, family: Family) -> bool | None:
        value = self.value(family)
        return None if value is None else value == 1

    def words(self, family: Family) -> tuple[str, ...] | None:
        sample = self._get(family)
        return sample.active if sample is not None else None

    def word(self, family: Family) -> str:
        return next(iter(self.words(family) or ()), "")

    def phases(self, family: Family) -> dict[str, float]:
        """Values by phase; "" is the one of all phases."""
        found = {phase: self.value(family, phase) for phase in ("", "l1", "l2", "l3")}
        return {phase: value for phase, value in found.items() if value is not None}

    def watts(self) -> float | None:
        power = self.phases(f.PLUG_POWER).values()
        return sum(power) if power else None

    def present(self) -> bool:
        """Whether the charge that is told of is the present one, not the last."""
        return self.word(f.PLUG_STATE) in (*_PRESENT, "waiting_for_disconnection")

    def pill(self) -> str:
        state = self.word(f.PLUG_STATE)
        colour = "good" if state == "charging" else _COLOURS.get(self.word(f.PLUG_STATUS), "off")
        return _pill(_words(state or "state unknown").capitalize(), colour)

    def situation(self, station: str) -> Situation:
        watts, amperes = self.watts(), self.phases(f.PLUG_CURRENT).values()
        current = max(amperes) >= 0.5 if amperes else None
        return Situation(
            state=self.word(f.PLUG_STATE),
            enabled=self.flag(f.PLUG_ENABLED),
            connected=self.flag(f.PLUG_CONNECTED),
            faults=self.words(f.PLUG_ERROR),
            stop=self.word(f.CHARGE_STOP_REASON),
            limit=self.value(f.PLUG_CURRENT_LIMIT),
            flowing=current if watts is None else watts >= 50,  # the electronics take a little, too
            station=station,
        )


class _ChargerSection:
    """One charger on the page."""

    def __init__(self, anchor: str, view: ChargerView, now: float, opened: str) -> None:
        self.anchor, self.snapshot, self.name, self._opened = anchor, view.snapshot, _text(view.name), opened
        told = {} if view.snapshot is None else {(s.family.name, s.labels): s for s in samples(view.snapshot)}
        plugs = dict.fromkeys(s.labels[0] for s in told.values() if s.family.labels[:1] == ("plug",))
        self.plugs = [_Told(told, name) for name in plugs]
        self._station_told = _Told(told)
        self.age = "never" if view.snapshot is None else _age(now - view.snapshot.taken)

    def pills(self) -> list[str]:
        """The state of each plug, or of the charger if nothing is known of plugs."""
        if self.snapshot is None:
            return [_pill("Not read yet", "off")]
        if not self.snapshot.up:
            return [_pill("Not reachable", "bad")]
        return [plug.pill() for plug in self.plugs] or [_pill("No plugs", "off")]

    def lines(self) -> str:
        """Its rows of the overview, one for each plug."""
        lines = []
        for pill, plug in zip(self.pills(), self.plugs or [_Told({})], strict=True):
            which = f' <span class="quiet">{_text(plug.name)}</span>' if len(self.plugs) > 1 else ""
            energy = plug.value(f.CHARGE_ENERGY)
            lines.append(
                f'<tr><th scope="row"><a href="#{self.anchor}">{self.name}</a>{which}</th><td>{pill}</td>'
                f"<td>{_number(plug.watts(), 1000, 2, 'kW')}</td>"
                f"<td>{_number(energy if plug.present() else None, 3.6e6, 2, 'kWh')}</td><td>{self.age}</td></tr>"
            )
        return "\n".join(lines)

    def section(self) -> str:
        """The part of the page about this charger."""
        snapshot = self.snapshot
        head = f'<section id="{self.anchor}"><div class="top"><h2>{self.name}</h2>'
        if snapshot is not None:
            verb = "Read" if snapshot.up else "Tried"
            head += f'<p class="quiet">{verb} {self.age}, {_time(snapshot.taken)}</p>'
        if snapshot is None or not snapshot.up:
            reason = "The first reading has not ended." if snapshot is None else str(failure(snapshot))
            return f'{head}</div>{self.pills()[0]}<p class="why">{_text(reason)}</p></section>'
        plugs = [self._plug(plug) for plug in self.plugs] or ['<p class="why">It tells of no plug.</p>']
        return "\n".join((f"{head}</div>", *plugs, self._station(snapshot), self._devices(snapshot), "</section>"))

    def _plug(self, plug: _Told) -> str:
        why = why_not_charging(plug.situation(self._station_told.word(f.STATION_STATE)))
        power, current, voltage = map(plug.phases, (f.PLUG_POWER, f.PLUG_CURRENT, f.PLUG_VOLTAGE))
        limit, most = map(plug.value, (f.PLUG_CURRENT_LIMIT, f.PLUG_CURRENT_MAX))
        connected, locked, faults = plug.flag(f.PLUG_CONNECTED), plug.flag(f.PLUG_LOCKED), plug.words(f.PLUG_ERROR)
        figures = (
            _measured("Power", plug.watts(), power, 1000, 2, "kW"),
            # Of several phases the highest: they do not add up.
            _measured("Current", max(current.values(), default=None), current, 1, 1, "A"),
            _measured("Voltage", max(voltage.values(), default=None), voltage, 1, 1, "V"),
            _figure("Current limit", _number(limit, 1, 1, "A"), "" if most is None else f"of {most:g} A"),
            _charge(plug),
            _figure("Meter", _number(plug.value(f.PLUG_ENERGY), 3.6e6, 2, "kWh")),
            _figure("Vehicle", _CONNECTED[connected], _LOCKED[locked], kind="text"),
            _figure("Faults", _faults(faults), kind="trouble" if faults else "text"),
        )
        return (
            f"<article><h3>{_text(plug.name)}</h3>{plug.pill()}"
            + (f'<p class="why"><strong>Not charging:</strong> {_text(why)}</p>' if why else "")
            + f'<dl class="figures">{"".join(figures)}</dl></article>'
        )

    def _station(self, snapshot: Snapshot) -> str:
        told, information = self._station_told, snapshot.inventory.information
        state, faults = told.word(f.STATION_STATE), told.words(f.STATION_ERROR)
        celsius, boot, events = map(told.value, (f.STATION_TEMPERATURE, f.STATION_BOOT, f.STATION_EVENTS))
        facts = {
            "State": _words(state) if state else "",
            "Faults": _faults(faults) if faults is not None else "",
            "Temperature": _number(celsius, 1, 1, "°C") if celsius is not None else "",
            "Active events": f"{events:g}" if events is not None else "",
            "Started": _time(boot),
            "Engine": _text(f"{information.product} {information.version}") if information is not None else "",
            "Not read": ", ".join(d.name.replace("_", " ") for d in snapshot.documents if not d.success),
        }
        shown = "".join(f"<div><dt>{name}</dt><dd>{fact}</dd></div>" for name, fact in facts.items() if fact)
        return f'<article><h3>Station</h3><dl class="facts">{shown}</dl></article>' if shown else ""

    def _devices(self, snapshot: Snapshot) -> str:
        """All variables but the personal ones, which are not even named."""
        reading = Reading(snapshot)
        shown: dict[str, list[VariableRow]] = {device: [] for device in reading.devices}
        for row in variable_rows(snapshot):
            if not reading.facts.sensitive(reading.devices[row.device].type, row.variable):
                shown[row.device].append(row)
        parts = []
        for index, (device, found) in enumerate(shown.items(), 1):
            anchor = f"{self.anchor}-device-{index}"
            silent = "" if self._station_told.value(f.DEVICE_UP, device) else ", does not answer"
            about = _text(f"{reading.devices[device].type or ''} variables: {len(found)}{silent}".strip())
            # What is unfolded stands in the address, or it would fold up when the page renews itself.
            here = anchor == self._opened
            unfold, link = (" open", f".#{self.anchor}") if here else ("", f"?{anchor}#{anchor}")
            parts.append(
                f'<details{unfold}><summary><a href="{link}">{_text(device)}</a> '
                f'<span class="quiet">{about}</span></summary><table id="{anchor}"><thead class="aside"><tr>'
                f'<th scope="col">Variable</th><th scope="col">Value</th></tr></thead>\n'
                f"<tbody>{''.join(map(_row, found))}</tbody></table></details>"
            )
        return f'<div class="devices"><h3>Devices</h3>{"".join(parts)}</div>' if parts else ""


def _charge(plug: _Told) -> str:
    """The figure of the present charge, or of the last one."""
    begun, ended, stop = plug.value(f.CHARGE_BEGIN), plug.value(f.CHARGE_END), plug.word(f.CHARGE_STOP_REASON)
    if plug.present() and ended is None:
        notes = [_time(begun, "since ")]
    else:
        notes = [_time(ended, "until "), f"ended {_STOPS[stop]}" if stop in _STOPS else ""]
    name, energy = "This charge" if plug.present() else "Last charge", plug.value(f.CHARGE_ENERGY)
    return _figure(name, _number(energy, 3.6e6, 2, "kWh"), _duration(plug.value(f.CHARGE_DURATION)), *notes)


def _figure(name: str, value: str, *notes: str, kind: str = "number") -> str:
    """A big value with its name; `value` and `notes` are HTML."""
    shown = "".join(f"<dd>{note}</dd>" for note in notes if note)
    return f'<div><dt>{name}</dt><dd class="{kind}">{value}</dd>{shown}</div>'


def _measured(name: str, main: float | None, each: Mapping[str, float], per: float, digits: int, unit: str) -> str:
    notes = (f"{phase.upper()} {_number(value, per, digits, unit)}" for phase, value in each.items() if phase)
    return _figure(name, _number(main, per, digits, unit), *notes)


def _number(value: float | None, per: float, digits: int, unit: str) -> str:
    if value is None:
        return _NOTHING
    # "+ 0.0" makes of -0.0, which rounding leaves behind, a plain zero.
    return f"{round(value / per, digits) + 0.0:.{digits}f}<small>&nbsp;{unit}</small>"


def _row(row: VariableRow) -> str:
    # Dates are shown as dates, whose unit says nothing more.
    unit = "" if row.unit == "date" or row.value is None else f" {row.unit}"
    title = f"<span>{_text(row.title)}</span>" if row.title else ""
    value = _NOTHING if row.value is None else _text(f"{format_number(row.value)}{unit}")
    return f'<tr><th scope="row">{_text(row.variable)}{title}</th><td>{value}</td></tr>'


def _pill(state: str, colour: str) -> str:
    return f'<p class="state {colour}">{_text(state)}</p>'


def _words(word: str) -> str:
    return word.replace("_", " ")


def _faults(faults: Sequence[str] | None) -> str:
    return _NOTHING if faults is None else ", ".join(_FAULTS.get(word, _words(word)) for word in faults) or "none"


def _time(seconds: float | None, before: str = "") -> str:
    """An instant in ISO, UTC; nothing for what no calendar has."""
    if seconds is None or not 0 <= seconds < 253_402_300_800:
        return ""
    told = datetime.fromtimestamp(seconds, UTC)
    return f'{before}<time datetime="{told:%Y-%m-%dT%H:%M:%SZ}">{told:%Y-%m-%d %H:%M:%S}&nbsp;UTC</time>'


def _age(seconds: float) -> str:
    told = f"{_duration(seconds)} ago" if seconds >= 1 else "now"
    return f'<span class="stale">{told}</span>' if seconds > STALE else told


def _duration(seconds: float | None) -> str:
    """Seconds in the two units that matter."""
    if seconds is None:
        return ""
    whole = max(0, int(seconds))
    for size, name, rest, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            left = whole % size // rest
            return f"{whole // size} {name}" + (f" {left} {small}" if left else "")
    return f"{whole} s"


def _text(text: str) -> str:
    """Text for HTML; what would break lines or turn the direction of reading is made visible."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split())))
