"""One charger on a page: its plugs with state, reason and figures, what was recorded, and the charger itself."""

import re
import shlex

from ccl_exporter.errors import ChargerError, TimedOut, Unreachable
from ccl_exporter.exporter.recent_readings import LastRead
from ccl_exporter.exporter.web.markup import (
    NOTHING,
    PageTime,
    duration,
    fact_list,
    kilowatt_hours,
    kilowatts,
    money,
    number,
    pill,
    text,
)
from ccl_exporter.exporter.web.plug_words import STOPS, faults, is_present, plain, state, why_not_charging
from ccl_exporter.exporter.web.sparkline import sparkline
from ccl_exporter.exporter.web.views import ChargerHistory, ChargerView
from ccl_exporter.powerstudio.advice import advice, failure
from ccl_exporter.sessions.tracker import Costs
from ccl_exporter.station.catalogue import NotCharging, catalogue
from ccl_exporter.station.plug import Measured, Plug
from ccl_exporter.station.remedies import fault_steps, remedy_of

_CONNECTED = {True: "connected", False: "not connected", None: NOTHING}
_LOCKED = {True: "plug locked", False: "plug not locked", None: ""}
_PRIVATE = (
    '<article><p class="quiet">Sessions, energy by day and the power of the last 24 hours are shown on this'
    " machine itself, and elsewhere once <code>--web.config.file</code> asks for a login.</p></article>"
)


def charger_section(view: ChargerView, time: PageTime, link: str = "") -> str:
    """Everything about one charger but its variables; `link` in HTML leads to those."""
    last = view.last
    if last is None:
        return f'<section>{pill("Not read yet", "off")}<p class="why">The first read has not ended.</p></section>'
    if not last.snapshot.up:
        return _unreachable(view, last, time)
    parts = [_plug(plug, view, last, time) for plug in last.plugs] or ['<p class="why">No plug reported.</p>']
    if last.faults:
        helps = f'<span class="helps">{text(fault_steps(last.faults))}</span>'
        parts.insert(0, f'<p class="why">The charger reports: {faults(last.faults)}. {helps}</p>')
    history = _sessions(view.history, view, time) if view.history is not None else _PRIVATE
    return f"<section>{''.join(parts)}{_contact(last, time)}{history}{_about(last, time, link)}</section>"


def _contact(last: LastRead, time: PageTime) -> str:
    """When a charger was read, or tried in vain."""
    return f'<p class="contact">{"Read" if last.snapshot.up else "Tried"} {time.age(last.snapshot.taken)}</p>'


def _unreachable(view: ChargerView, last: LastRead, time: PageTime) -> str:
    reason = failure(last.snapshot)
    # The URL names the charger in the advice.
    what = f"{text(_sentence(str(reason)))} {_code(text(_sentence(advice(reason, view.url))))}"
    helps = _command(view, "check", before="To find out more, run:")
    shown = (
        f'<article>{pill("Not reachable", "bad")}<p class="why">{_silence(reason, view.last_up_at, time)}</p>'
        f'<p class="quiet">{what}</p><p>{helps}</p></article>'
    )
    history = _sessions(view.history, view, time) if view.history is not None else ""
    return f"<section>{shown}{_contact(last, time)}{history}</section>"


def _silence(reason: ChargerError, last_up_at: float | None, time: PageTime) -> str:
    """Since when a charger gives no values, and what to look at first."""
    silent = isinstance(reason, (Unreachable, TimedOut))
    words = "No answer from the charger" if silent else "No values from the charger"
    since = time.moment(last_up_at, " since ")
    check = "; check its power and network" if silent else ""
    return f"{words}{since}. It may still charge{check}." if since else f"{words} yet{check}."


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith(('.', '?')) else '.'}"


def _code(words: str) -> str:
    """HTML with what stands in backticks as code."""
    return re.sub("`(.*?)`", r"<code>\1</code>", words)


def _command(view: ChargerView, command: str, *more: str, before: str) -> str:
    """A command about a charger, for a terminal."""
    words = " ".join((view.program, command, "--charger", shlex.quote(view.url), *more))
    return f'<span class="helps">{before} <code>{text(words)}</code></span>'


def _remedy(plug: Plug, view: ChargerView, alone: bool) -> str:
    """What a person does so that a plug charges; empty where nothing is known."""
    if plug.not_charging is NotCharging.FAULT:
        return f'<span class="helps">{text(fault_steps(plug.faults or ("unknown",)))}</span>'
    command = remedy_of(plug)
    if plug.is_limit_below_minimum:
        before = "To lift the limit, run:"
    elif plug.not_charging is NotCharging.WAITING_FOR_PERMISSION:
        before = "Hold your card to the charger, or run:"
    else:
        before = "To start charging, run:"
    # The other command, `set`, names the variable.
    which = () if alone or not command.startswith("charge ") else ("--plug", shlex.quote(plug.name))
    return _command(view, command, *which, before=before) if command else ""


def _plug(plug: Plug, view: ChargerView, last: LastRead, time: PageTime) -> str:
    why = why_not_charging(plug, last.state)
    limits, history = plug.limits, view.history or ChargerHistory()
    figures = (
        _measured("Power", plug.power, plug.powers, 1000, 2, "kW"),
        _session(plug, history.costs, time),
        *(_energies(plug.name, history, time) if view.history is not None else ()),
        _figure("Meter", kilowatt_hours(plug.energy)),
        # Of several phases the highest: they do not add up.
        _measured("Current", plug.current, plug.currents, 1, 1, "A"),
        _figure(
            "Current limit",
            number(limits.allowed, 1, 1, "A"),
            "" if limits.socket is None else f"of {limits.socket:g} A",
        ),
        _measured("Voltage", plug.voltages.highest, plug.voltages, 1, 1, "V"),
        _figure("Vehicle", _CONNECTED[plug.vehicle_connected], _LOCKED[plug.locked], kind="words"),
        _figure("Faults of the plug", faults(plug.faults), kind="fault" if plug.faults else "words"),
    )
    if plug.not_charging is not None:
        why = f"Not charging: {why[:1].lower()}{why[1:]}"
    return (
        f'<article><div class="top"><h2>{text(view.plug(plug.name))}</h2>{pill(*state(plug))}</div>'
        + (f'<p class="why">{text(why)} {_remedy(plug, view, len(last.plugs) == 1)}</p>' if why else "")
        + f'<dl class="figures">{"".join(figures)}</dl>'
        + f"{sparkline(history.powers.get(plug.name, ()), time.now)}</article>"
    )


def _figure(name: str, value: str, *notes: str, kind: str = "number") -> str:
    """A big value with its name; `value` and `notes` are HTML."""
    shown = "".join(f"<dd>{note}</dd>" for note in notes if note)
    return f'<div><dt>{name}</dt><dd class="{kind}">{value}</dd>{shown}</div>'


def _measured(name: str, main: float | None, each: Measured, per: float, digits: int, unit: str) -> str:
    notes = (f"{phase.upper()} {number(value, per, digits, unit)}" for phase, value in each.by_phase if phase)
    return _figure(name, number(main, per, digits, unit), *notes)


def _session(plug: Plug, costs: Costs | None, time: PageTime) -> str:
    """The figure of the present session, or of the last one."""
    session, stop, present = plug.session, plug.stop_reason, is_present(plug)
    if present and session.ended is None:
        cost = money(costs.running.get(plug.name), costs.currency) if costs is not None else ""
        notes = [time.moment(session.began, "since "), cost]
    else:
        notes = [time.moment(session.ended, "until "), f"ended {STOPS[stop]}" if stop in STOPS else ""]
    name = "This session" if present else "Last session"
    return _figure(name, kilowatt_hours(session.energy), duration(session.duration), *notes)


def _energies(plug: str, history: ChargerHistory, time: PageTime) -> tuple[str, ...]:
    """The figures of energy of today and of this month, with what it cost."""
    today, days, costs = f"{time.local:%Y-%m-%d}", history.days.get(plug, {}), history.costs
    month = [joules for day, joules in days.items() if day.startswith(today[:8])]
    paid_today = paid_in_month = ""
    if costs is not None:
        paid = costs.days.get(plug, {})
        known = [cost for day in days if day.startswith(today[:8]) if (cost := paid.get(day)) is not None]
        paid_today = money(paid.get(today), costs.currency)
        # A sum without one of its days is a wrong number.
        paid_in_month = money(sum(known) if known and len(known) == len(month) else None, costs.currency)
    return (
        _figure("Today", kilowatt_hours(days.get(today, 0.0 if days else None)), paid_today),
        _figure("This month", kilowatt_hours(sum(month) if days else None), paid_in_month),
    )


def _sessions(history: ChargerHistory, view: ChargerView, time: PageTime) -> str:
    words = catalogue().codes["stop_reason"]
    several = len({session.plug for session in history.sessions}) > 1
    with_cost = any(session.cost is not None for session in history.sessions)
    rows = []
    for session in history.sessions:
        stop = words.get(session.stop_reason, "unknown") if session.stop_reason is not None else ""
        plug = f"<td>{text(view.plug(session.plug))}</td>" if several else ""
        cost = f"<td>{money(session.cost, session.currency or '')}</td>" if with_cost else ""
        begin = time.moment(session.begun if session.begun is not None else session.requested) or NOTHING
        rows.append(
            f'<tr><th scope="row">{begin}</th>{plug}<td>{kilowatt_hours(session.joules)}</td>'
            f'<td>{duration(session.seconds)}</td><td class="more">{kilowatts(session.highest_watts)}</td>'
            f"<td>{STOPS.get(stop, '')}</td>{cost}</tr>"
        )
    if not rows:
        return '<article><h2>Sessions</h2><p class="quiet">No session has been recorded yet.</p></article>'
    energy = ("Energy", "Duration", "Highest power", "Ended")
    heads = ("Begin", *(("Plug",) if several else ()), *energy, *(("Cost",) if with_cost else ()))
    cells = "".join(
        f'<th scope="col"{" class=more" if head == "Highest power" else ""}>{head}</th>' for head in heads
    )
    return (
        f'<article class="history"><h2>Last sessions</h2><table class="sessions"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></article>"
    )


def _about(last: LastRead, time: PageTime, link: str) -> str:
    snapshot, information = last.snapshot, last.snapshot.inventory.information
    events = snapshot.status.active_events if snapshot.status is not None else None
    facts = {
        "State": plain(last.state) if last.state not in (None, "none") else "",
        "Faults of the charger": faults(last.faults) if last.faults else "",
        "Temperature": number(last.celsius, 1, 1, "°C") if last.celsius is not None else "",
        "Active events": f"{events:g}" if events else "",
        "Charger started": time.moment(last.booted),
        "Engine": text(f"{information.product} {information.version}") if information is not None else "",
        "Not read": ", ".join(plain(document.name) for document in snapshot.documents if not document.success),
    }
    return f'<article><div class="top"><h2>Charger</h2><p>{link}</p></div>{fact_list(facts)}</article>'
