"""The live page: every charger at a glance, and below it all that its devices say. Pure: snapshots to HTML.

What a charger says is hostile input: it passes through `_text` and nowhere else into the page.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template

from ccl_exporter.powerstudio.advice import failure
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.station.catalogue import Activity, NotCharging
from ccl_exporter.station.judge import Station
from ccl_exporter.station.plug import IN_SESSION, Measured, Plug, Session
from ccl_exporter.station.rows import VariableRow, variable_rows
from ccl_exporter.text import format_number, printable_text

STALE = 120.0
"""Seconds after which values are called old: nobody should take them for the present."""

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
_BAD_STOPS = ("error", "vehicle_communication", "vehicle_over_current")
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


def why_not_charging(plug: Plug, station: str | None) -> str:
    """Why no power flows, as a sentence; "" if it does. `station` is the state of the whole charger."""
    reason = plug.not_charging
    if reason is None:
        return "" if _flows(plug) else "Power is offered, but the vehicle takes none: it may be full or busy."
    if reason is NotCharging.FAULT:
        return f"A fault prevents it: {_faults(plug.faults or ('unknown',))}."
    if station in ("error", "disabled", "not_initialised"):
        return f"The state of the whole station is: {_words(station)}."
    ended = f" {_STOPS[plug.stop_reason]}" if plug.stop_reason in _STOPS else ""
    words = plug.sentence
    if reason is NotCharging.SESSION_ENDED and ended:
        words = f"{words}; it was ended{ended}"
    elif reason is NotCharging.WAITING_FOR_PERMISSION and plug.stop_reason in _BAD_STOPS:
        words = f"{words}; the last session was ended{ended}"
    return f"{words[:1].upper()}{words[1:]}."


def _flows(plug: Plug) -> bool:
    """Whether power flows, or nobody can say; the electronics take a little, too."""
    if plug.power is not None:
        return plug.power >= 50
    return plug.current is None or plug.current >= 0.5


def page(views: Sequence[ChargerView], now: float, version: str, opened: str = "") -> bytes:
    """The whole page. `now` is in Unix seconds, `opened` the query of the page's address: the device to unfold."""
    again = f"?{opened}" if re.fullmatch("charger-[0-9]{1,6}-device-[0-9]{1,6}", opened) else "."
    chargers = [_ChargerSection(f"charger-{index}", view, now, opened) for index, view in enumerate(views, 1)]
    charging = sum(any(plug.is_charging for plug in charger.plugs) for charger in chargers)
    body = [charger.section() for charger in chargers] or ["<p>No charger is configured.</p>"]
    if len(chargers) > 1:
        lines = "\n".join(charger.lines() for charger in chargers)
        body.insert(0, f"{_OVERVIEW}<tbody>{lines}</tbody></table>")
    heading, html = f"Chargers: {charging} of {len(chargers)} charging", "\n".join(body)
    told = {"again": again, "heading": heading, "clock": _time(now), "body": html, "version": _text(version)}
    return _PAGE.substitute(told, style=_STYLE).encode()


class _ChargerSection:
    """One charger on the page."""

    def __init__(self, anchor: str, view: ChargerView, now: float, opened: str) -> None:
        self.anchor, self.snapshot, self.name, self._opened = anchor, view.snapshot, _text(view.name), opened
        self._station = None if view.snapshot is None else Station(view.snapshot)
        self.plugs = () if self._station is None else self._station.plugs
        self.age = "never" if view.snapshot is None else _age(now - view.snapshot.taken)

    def pills(self) -> list[str]:
        """The state of each plug, or of the charger if nothing is known of plugs."""
        if self.snapshot is None:
            return [_pill("Not read yet", "off")]
        if not self.snapshot.up:
            return [_pill("Not reachable", "bad")]
        return [_plug_pill(plug) for plug in self.plugs] or [_pill("No plugs", "off")]

    def lines(self) -> str:
        """Its rows of the overview, one for each plug."""
        lines = []
        for pill, plug in zip(self.pills(), self.plugs or [Plug("")], strict=True):
            which = f' <span class="quiet">{_text(plug.name)}</span>' if len(self.plugs) > 1 else ""
            energy = plug.session.energy if _is_present(plug) else None
            lines.append(
                f'<tr><th scope="row"><a href="#{self.anchor}">{self.name}</a>{which}</th><td>{pill}</td>'
                f"<td>{_number(plug.power, 1000, 2, 'kW')}</td>"
                f"<td>{_number(energy, 3.6e6, 2, 'kWh')}</td><td>{self.age}</td></tr>"
            )
        return "\n".join(lines)

    def section(self) -> str:
        """The part of the page about this charger."""
        snapshot = self.snapshot
        head = f'<section id="{self.anchor}"><div class="top"><h2>{self.name}</h2>'
        if snapshot is not None:
            verb = "Read" if snapshot.up else "Tried"
            head += f'<p class="quiet">{verb} {self.age}, {_time(snapshot.taken)}</p>'
        if snapshot is None or self._station is None or not snapshot.up:
            reason = "The first reading has not ended." if snapshot is None else str(failure(snapshot))
            return f'{head}</div>{self.pills()[0]}<p class="why">{_text(reason)}</p></section>'
        plugs = [self._plug(plug, self._station) for plug in self.plugs] or [
            '<p class="why">It tells of no plug.</p>'
        ]
        return "\n".join(
            (f"{head}</div>", *plugs, self._about(self._station), self._devices(self._station), "</section>")
        )

    def _plug(self, plug: Plug, station: Station) -> str:
        why = why_not_charging(plug, station.state)
        limits, faults = plug.limits, plug.faults
        figures = (
            _measured("Power", plug.power, plug.powers, 1000, 2, "kW"),
            # Of several phases the highest: they do not add up.
            _measured("Current", plug.current, plug.currents, 1, 1, "A"),
            _measured("Voltage", plug.voltages.highest, plug.voltages, 1, 1, "V"),
            _figure(
                "Current limit",
                _number(limits.allowed, 1, 1, "A"),
                "" if limits.socket is None else f"of {limits.socket:g} A",
            ),
            _session(plug),
            _figure("Meter", _number(plug.energy, 3.6e6, 2, "kWh")),
            _figure("Vehicle", _CONNECTED[plug.vehicle_connected], _LOCKED[plug.locked], kind="text"),
            _figure("Faults", _faults(faults), kind="trouble" if faults else "text"),
        )
        return (
            f"<article><h3>{_text(plug.name)}</h3>{_plug_pill(plug)}"
            + (f'<p class="why"><strong>Not charging:</strong> {_text(why)}</p>' if why else "")
            + f'<dl class="figures">{"".join(figures)}</dl></article>'
        )

    def _about(self, station: Station) -> str:
        snapshot, information = station.snapshot, station.snapshot.inventory.information
        events = snapshot.status.active_events if snapshot.status is not None else None
        facts = {
            "State": _words(station.state) if station.state else "",
            "Faults": _faults(station.faults) if station.faults is not None else "",
            "Temperature": _number(station.celsius, 1, 1, "°C") if station.celsius is not None else "",
            "Active events": f"{events:g}" if events is not None else "",
            "Started": _time(station.booted),
            "Engine": _text(f"{information.product} {information.version}") if information is not None else "",
            "Not read": ", ".join(d.name.replace("_", " ") for d in snapshot.documents if not d.success),
        }
        shown = "".join(f"<div><dt>{name}</dt><dd>{fact}</dd></div>" for name, fact in facts.items() if fact)
        return f'<article><h3>Station</h3><dl class="facts">{shown}</dl></article>' if shown else ""

    def _devices(self, station: Station) -> str:
        """All variables but the personal ones, which are not even named."""
        snapshot, reading = station.snapshot, station.reading
        shown: dict[str, list[VariableRow]] = {device: [] for device in reading.devices}
        for row in variable_rows(snapshot):
            if not reading.is_personal(row.id):
                shown[row.device].append(row)
        parts = []
        for index, (device, found) in enumerate(shown.items(), 1):
            anchor = f"{self.anchor}-device-{index}"
            silent = ", does not answer" if _is_silent(station, device) else ""
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


def _is_silent(station: Station, device: str) -> bool:
    """Whether a device that was asked did not answer, or says itself that it does not."""
    snapshot = station.snapshot
    asked = snapshot.asked is None or device in snapshot.asked
    return not (asked and device in snapshot.answered and station.reading.status_ok(device))


def _is_present(plug: Plug) -> bool:
    """Whether the session that is told of is the present one, not the last."""
    return plug.activity in IN_SESSION or plug.activity is Activity.ENDED


def _plug_pill(plug: Plug) -> str:
    state = plug.state.word if plug.state is not None else "state unknown"
    colour = "good" if plug.is_charging else _COLOURS.get(plug.status or "", "off")
    return _pill(_words(state).capitalize(), colour)


def _session(plug: Plug) -> str:
    """The figure of the present session, or of the last one."""
    session, stop = plug.session or Session(), plug.stop_reason
    if _is_present(plug) and session.ended is None:
        notes = [_time(session.began, "since ")]
    else:
        notes = [_time(session.ended, "until "), f"ended {_STOPS[stop]}" if stop in _STOPS else ""]
    name = "This charge" if _is_present(plug) else "Last charge"
    return _figure(name, _number(session.energy, 3.6e6, 2, "kWh"), _duration(session.duration), *notes)


def _figure(name: str, value: str, *notes: str, kind: str = "number") -> str:
    """A big value with its name; `value` and `notes` are HTML."""
    shown = "".join(f"<dd>{note}</dd>" for note in notes if note)
    return f'<div><dt>{name}</dt><dd class="{kind}">{value}</dd>{shown}</div>'


def _measured(name: str, main: float | None, each: Measured, per: float, digits: int, unit: str) -> str:
    notes = (f"{phase.upper()} {_number(value, per, digits, unit)}" for phase, value in each.by_phase if phase)
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
    return escape(printable_text(" ".join(text.split())))
