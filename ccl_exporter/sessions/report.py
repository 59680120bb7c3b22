"""Finished sessions as a table with a balance, as CSV, as JSON, and as samples. Pure."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from math import isfinite
from operator import itemgetter

from ccl_exporter.errors import UsageError
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.sessions.store import Recorded
from ccl_exporter.sessions.tracker import FinishedSession, RegisterAccount
from ccl_exporter.station.catalogue import catalogue
from ccl_exporter.text import align_columns, count, printable_text

COLUMNS = (
    "begin",
    "end",
    "kwh",
    "duration_seconds",
    "stop_reason",
    "charger",
    "plug",
    "highest_kw",
    "cost",
    "currency",
)

_KWH = 3.6e6  # joules


def instant(text: str, whole_day: bool = False) -> float:
    """Unix seconds of a date (`2026-11-30`, its begin, or its end if `whole_day`) or of a date with a time.

    UTC without an offset. Raises `UsageError`.
    """
    try:
        day = date.fromisoformat(text) + timedelta(days=whole_day)
        return datetime.combine(day, time(), UTC).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is no date; it looks like 2026-11-30 or 2026-11-30T18:00:00Z") from error


def select_sessions(
    recorded: Recorded, chargers: Sequence[str] = (), since: float | None = None, until: float | None = None
) -> Recorded:
    """The sessions that ended from `since` to before `until` (Unix seconds), sorted by end, and all accounts.

    `chargers` are names; without any, those of all chargers are selected. The time of each session is its end;
    without a plausible one, that of the read that brought the session.
    """
    charges = []
    for noted, charge in recorded.charges:
        at = noted if charge.ended is None else charge.ended
        in_time = (since is None or at >= since) and (until is None or at < until)
        if in_time and (not chargers or charge.charger in chargers):
            charges.append((at, charge))
    accounts = [each for each in recorded.accounts if not chargers or each[0] in chargers]
    return Recorded(sorted(charges, key=itemgetter(0)), accounts)


def as_csv(recorded: Recorded) -> str:
    """The sessions as CSV (RFC 4180) with a header; dates in UTC (ISO 8601), an unknown value is empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for _, session in recorded.charges:
        duration = "" if session.seconds is None else f"{session.seconds:.3f}".rstrip("0").rstrip(".")
        writer.writerow((*_cells(session, UTC, duration, ""), _cost(session), session.currency or ""))
    return text.getvalue()


def as_json(recorded: Recorded) -> str:
    """The `sessions` and the balance of the `registers` as JSON; dates in UTC, an unknown value is null.

    `energy_kwh` is the growth of a register from `since` to `until`: the sum of `sessions_kwh` (those that ended),
    `running_kwh` and `unattributed_kwh`. `is_over` says that the register was reset or exchanged after that.
    """
    registers = [
        {
            "charger": charger,
            "plug": plug,
            "since": _shown(account.began, UTC),
            "until": _shown(account.at, UTC),
            "energy_kwh": _number(account.grown / _KWH),
            "sessions_kwh": _number(account.charged / _KWH),
            "running_kwh": _number(account.under_way / _KWH),
            "unattributed_kwh": _number(account.unassigned / _KWH),
            "is_over": is_over,
        }
        for charger, plug, account, is_over in _registers(recorded)
    ]
    sessions = [_session_object(session) for _, session in recorded.charges]
    return json.dumps({"sessions": sessions, "registers": registers}, indent=2, ensure_ascii=False)


def session_table(recorded: Recorded, zone: tzinfo | None) -> str:
    """The sessions as aligned columns, and their sum; dates in `zone`, None is that of this machine."""
    heads: tuple[str, ...] = ("BEGIN", "END", "KWH", "DURATION", "STOP REASON", "CHARGER", "PLUG", "HIGHEST KW")
    sessions = [session for _, session in recorded.charges]
    durations = ["-" if session.seconds is None else _hours(session.seconds) for session in sessions]
    rows: list[tuple[str, ...]] = [
        _cells(session, zone, text, "-") for session, text in zip(sessions, durations, strict=True)
    ]
    total = sum(session.joules for session in sessions)
    says = f"{count(len(sessions), 'session')}, {_kwh(total)} kWh"
    costs = defaultdict[str, float](float)
    for session in sessions:
        if session.cost is not None and session.currency is not None:
            costs[session.currency] += session.cost
    if costs:
        heads = (*heads, "COST")
        rows = [
            (*row, f"{_cost(session)} {session.currency}" if session.cost is not None else "-")
            for row, session in zip(rows, sessions, strict=True)
        ]
        says += "".join(f", {cost:.2f} {currency}" for currency, cost in sorted(costs.items()))
        if unknown := sum(session.cost is None for session in sessions):
            says += f" without {count(unknown, 'session')} whose cost is not known"
    return f"{align_columns([heads, *rows])}\n\n{says}"


def balance(recorded: Recorded, zone: tzinfo | None) -> Iterator[str]:
    """The balance of each account of a register, as lines of text; a reset begins a new account.

    The growth is the sum of ended sessions, the running session and unattributed energy. An account without
    growth and sessions has no lines.
    """
    for charger, plug, account, is_over in _registers(recorded):
        if not (account.grown or account.charged or account.running):
            continue
        state = ", then it was reset or exchanged" if is_over else ""
        name = printable_text(f"{charger} {plug}")
        yield f"{name}, register from {_shown(account.began, zone)} to {_shown(account.at, zone)}{state}:"
        lines = [
            ("  register", account.grown, f"from {_kwh(account.first)} to {_kwh(account.latest)}"),
            ("  sessions", account.charged, "of sessions that ended in this time"),
        ]
        if account.running is not None:
            text = "of a session that was running" if is_over else "of the session that is running"
            lines.append(("  running", account.under_way, text))
        lines.append(("  unattributed", account.unassigned, "that flowed outside these sessions"))
        cells = [(what, f"{_kwh(joules)} kWh", text) for what, joules, text in lines]
        yield from align_columns(cells).splitlines()


def _registers(recorded: Recorded) -> Iterator[tuple[str, str, RegisterAccount, bool]]:
    """The accounts, each with whether its register was reset or exchanged since."""
    lasting = {(charger, plug): account.register_generation for charger, plug, account in recorded.accounts}
    for charger, plug, account in recorded.accounts:
        yield charger, plug, account, account.register_generation < lasting[charger, plug]


def _cells(session: FinishedSession, zone: tzinfo | None, duration: str, nothing: str) -> tuple[str, ...]:
    return (
        nothing if session.begun is None else _shown(session.begun, zone),
        nothing if session.ended is None else _shown(session.ended, zone),
        _kwh(session.joules),
        duration,
        _stop_reason(session) or nothing,
        session.charger,
        session.plug,
        nothing if session.highest_watts is None else f"{session.highest_watts / 1000:.3f}",
    )


def _session_object(session: FinishedSession) -> dict[str, str | float | None]:
    requested, begin, end = (
        None if at is None else _shown(at, UTC) for at in (session.requested, session.begun, session.ended)
    )
    return {
        "charger": session.charger,
        "plug": session.plug,
        "requested": requested,
        "begin": begin,
        "end": end,
        "energy_kwh": _number(session.joules / _KWH),
        "duration_seconds": None if session.seconds is None else _number(session.seconds),
        "stop_reason": _stop_reason(session),
        "highest_power_kw": None if session.highest_watts is None else _number(session.highest_watts / 1000),
        "cost": None if session.cost is None else _number(session.cost),
        "currency": session.currency,
    }


def _stop_reason(session: FinishedSession) -> str | None:
    words = catalogue().codes["stop_reason"]
    return None if session.stop_reason is None else words.get(session.stop_reason, "unknown")


def _number(value: float) -> float:
    # Rounding -0.0001 gives -0.0; adding 0.0 makes it 0.0.
    return round(value, 3) + 0.0


def _kwh(joules: float) -> str:
    return f"{_number(joules / _KWH):.3f}"


def _shown(at: float, zone: tzinfo | None) -> str:
    shown = datetime.fromtimestamp(at, UTC).astimezone(zone).isoformat(timespec="seconds")
    return shown.replace("+00:00", "Z") if zone is UTC else shown


def _cost(session: FinishedSession) -> str:
    """The cost with two decimals; empty if it is not known."""
    return "" if session.cost is None else f"{session.cost + 0.0:.2f}"


def _hours(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def finished_samples(charge: FinishedSession) -> Iterator[Sample]:
    """The samples of one finished session; an unknown value has none."""
    labels = (charge.plug,)
    for family, value in (
        (f.FINISHED_REQUEST, charge.requested),
        (f.FINISHED_BEGIN, charge.begun),
        (f.FINISHED_END, charge.ended),
        (f.FINISHED_ENERGY, charge.joules),
        (f.FINISHED_DURATION, charge.seconds),
        (f.FINISHED_HIGHEST_POWER, charge.highest_watts),
    ):
        if value is not None and isfinite(value):
            yield Sample(family, labels, float(value))
    if charge.stop_reason is not None and (word := _stop_reason(charge)) is not None:
        yield Sample(f.FINISHED_STOP_REASON, labels, float(charge.stop_reason), (word,))
