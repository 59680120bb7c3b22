"""Finished charges as a person or a spreadsheet reads them: a table with its balance, or CSV. Pure."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from math import isfinite
from operator import itemgetter

from ccl_exporter.errors import UsageError
from ccl_exporter.metrics import families as f
from ccl_exporter.metrics.families import Sample
from ccl_exporter.sessions.store import Recorded
from ccl_exporter.sessions.tracker import FinishedSession, RegisterAccount
from ccl_exporter.station.catalogue import catalogue
from ccl_exporter.text import align_columns, printable_text

COLUMNS = ("begin", "end", "kwh", "duration_seconds", "stop_reason", "charger", "plug", "highest_kw")


def instant(text: str, whole_day: bool = False) -> float:
    """Unix seconds of a date (`2026-11-30`, its begin, or its end if `whole_day`) or of a date with a time.

    UTC where no offset is told. Raises `UsageError`.
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
    """What was recorded of some chargers (else of all), charges that ended between two instants, in that order.

    A charge without a sound date of its end has that of the reading that brought it.
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
    """RFC 4180 with a header; dates in UTC (ISO 8601), what is not known is empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for _, charge in recorded.charges:
        duration = f"{charge.seconds:.3f}".rstrip("0").rstrip(".")
        writer.writerow(_cells(charge, duration, ""))
    return text.getvalue()


def session_table(recorded: Recorded) -> str:
    """The charges as aligned columns with the same dates, and their sum."""
    heads = ("BEGIN", "END", "KWH", "DURATION", "STOP REASON", "CHARGER", "PLUG", "HIGHEST KW")
    lines = [heads, *(_cells(charge, _hours(charge.seconds), "-") for _, charge in recorded.charges)]
    total, count = sum(charge.joules for _, charge in recorded.charges), len(recorded.charges)
    return f"{align_columns(lines)}\n\n{count} {'charge' if count == 1 else 'charges'}, {_kwh(total)} kWh"


def balance(recorded: Recorded) -> Iterator[str]:
    """For each register where its energy went since it was first read, or since it was reset.

    charges + running charge + none = register now - register then.
    """
    lasting = {(charger, plug): account.register_generation for charger, plug, account in recorded.accounts}
    for charger, plug, account in recorded.accounts:
        over = account.register_generation < lasting[charger, plug]
        yield from _sum(printable_text(f"{charger} {plug}"), account, over)


def _sum(name: str, account: RegisterAccount, over: bool) -> Iterator[str]:
    state = ", then it was reset or exchanged" if over else ""
    yield f"{name}, register from {_shown(account.began)} to {_shown(account.at)}{state}:"
    lines = [
        ("  register", f"{_kwh(account.grown)} kWh", f"from {_kwh(account.first)} to {_kwh(account.latest)}"),
        ("  charges", f"{_kwh(account.charged)} kWh", "that ended since, as far as they charged since"),
    ]
    if account.running is not None:
        text = "that was running" if over else "that is running"
        lines.append(("  charge", f"{_kwh(account.under_way)} kWh", text))
    lines.append(("  none", f"{_kwh(account.unassigned)} kWh", "that belong to no charge"))
    yield from align_columns(lines).splitlines()


def _cells(charge: FinishedSession, duration: str, nothing: str) -> tuple[str, ...]:
    words = catalogue().codes["stop_reason"]
    reason = nothing if charge.stop_reason is None else words.get(charge.stop_reason, "unknown")
    return (
        nothing if charge.begun is None else _shown(charge.begun),
        nothing if charge.ended is None else _shown(charge.ended),
        _kwh(charge.joules),
        duration,
        reason,
        charge.charger,
        charge.plug,
        nothing if charge.highest_watts is None else f"{charge.highest_watts / 1000:.3f}",
    )


def _kwh(joules: float) -> str:
    # Adding nothing makes the zero that a rounded -0.0001 leaves a plain one.
    return f"{round(joules / 3.6e6, 3) + 0.0:.3f}"


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _hours(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def finished_samples(charge: FinishedSession) -> Iterator[Sample]:
    """The samples of one charge; what is not known has none."""
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
    if charge.stop_reason is not None:
        word = catalogue().codes["stop_reason"].get(charge.stop_reason, "unknown")
        yield Sample(f.FINISHED_STOP_REASON, labels, float(charge.stop_reason), (word,))
