"""Whole made-up sites against an oracle: what the protocol and the house plan say must be shown, and no more.

`CCL_SITES` is the number of sites, `CCL_SITE_SEED` the seed of the only one.
The oracle uses nothing of the exporter's own judgement: no catalogue, no units, no names.
"""

import logging
import math
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from random import Random

import pytest
from helpers.pages import whole_page
from helpers.site_engine import Server
from helpers.sites import KNOWN, PERSONAL, VENDOR_LASTS, Device, Plug, Site, Variable, drawn_site
from helpers.support import OPENMETRICS, Clock, Scrape
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ccl_exporter.diagnostics.dump import dump
from ccl_exporter.diagnostics.variable_table import table
from ccl_exporter.metrics.families import FAMILIES, Sample
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.prometheus import exposition
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.station.rows import variable_rows

SEEDS = (
    [int(os.environ["CCL_SITE_SEED"])]
    if "CCL_SITE_SEED" in os.environ
    else range(int(os.environ.get("CCL_SITES", "60")))
)
SETTLING = 10
"""Reads after the last failure until everything must be there again, a quarter of a minute each."""
SETTLED = 4
"""Reads after that, in each of which all must be right."""

Outcome = tuple[str, float] | None
"""A family (behind `ccl_variable_`) and a value in base units; None is that nothing is shown."""

_Shown = Mapping[tuple[str, tuple[str, ...]], float]

_UNITS: Mapping[str, tuple[str, float]] = {
    "#V": ("volts", 1),
    "#A": ("amperes", 1),
    "#W": ("watts", 1),
    "#VA": ("voltamperes", 1),
    **dict.fromkeys(("#VAR", "#VARL", "#VARC"), ("vars", 1)),
    "#HZ": ("hertz", 1),
    "#DEGREES": ("degrees", 1),
    "#PF": ("ratio", 1),
    "#PERCENT": ("ratio", 0.01),
    "#SECONDS": ("seconds", 1),
    "#HOURS": ("seconds", 3600),
    "#WH": ("joules", 3600),
    "#VAH": ("voltampere_seconds", 3600),
    **dict.fromkeys(("#VARH", "#VARLH", "#VARCH"), ("var_seconds", 3600)),
    "°C": ("celsius", 1),
}
_VENDORS = {
    *VENDOR_LASTS,
    *("STATUS", "VDTTM", "CC"),
    *(name.rpartition(".")[2] for names in KNOWN.values() for name in names),
}
_REGISTERS = ("AE", "NAE", "IE", "CE")
_PERHAPS_REGISTERS = tuple(f"{name}{phase}" for name in _REGISTERS for phase in "123")
_YEAR_2000 = 946_684_800.0
# Where the engine gives none; which variable has which is looked at elsewhere.
_TITLES = {
    title
    for group in tomllib.loads(files("ccl_exporter.station").joinpath("catalogue.toml").read_text("utf-8"))[
        "devices"
    ]
    for title in group.get("titles", {}).values()
}
_YEAR_2015 = 1_420_070_400.0


def _is_ok(device: Device, name: str) -> bool:
    """Whether the device of a variable and each sub-device on the way report OK, or report nothing."""
    parts = name.split(".")
    for depth in range(len(parts)):
        status = device.variable(".".join((*parts[:depth], "STATUS")))
        if status is not None and status.value != 1:
            return False
    return True


def outcomes(device: Device, variable: Variable, listed: bool, typed: bool) -> list[Outcome]:
    """All that may be shown of a variable; `listed` if varInfo lists it, `typed` if deviceInfo has its type."""
    last = variable.name.rpartition(".")[2]
    value = variable.value
    if value is None or isinstance(value, str) or last in PERSONAL:
        return [None]
    if listed and not variable.has_value:
        return [None]
    if not _is_ok(device, variable.name):
        # STATUS itself may be shown wherever it is not 1: it is all that such a device has to say.
        return [None, ("value", value)] if last == "STATUS" else [None]
    if not (typed and device.type) and last not in _VENDORS:
        # While the type of a device is not known, only what has a unit or is a date is certainly harmless.
        has_unit = listed and variable.unit in (*_UNITS, "#DATETIME") and variable.factor is not None
        if not has_unit and variable.kind != "date":
            # Which names have phases is the vendor's to say.
            is_phase = last[-1] in "123" and last[:-1] in _VENDORS
            return [
                None,
                *(outcomes(device, replace(variable, name=variable.name[:-1]), listed, typed) if is_phase else ()),
            ]
    name = re.sub(r"^PLUG\d*\.", "PLUG.", variable.name)
    known = (KNOWN.get(device.type or "", {}).get(name) if typed else None) or (None, None)
    unit = (variable.unit, variable.factor) if listed and variable.unit and variable.factor is not None else known
    if variable.kind == "date":
        instant: Outcome = ("timestamp_seconds", value) if value >= _YEAR_2000 else None
        # Eight digits are a number like any other unless something says that they are a date.
        digits = float(datetime.fromtimestamp(value, UTC).strftime("%d%m%Y"))
        as_number = [("value", digits)] if variable.digits == 8 and unit == (None, None) else []
        return [instant, *as_number, *([] if typed and device.type else [None])]
    differential = variable.sample_mode == "differential" and listed
    # An unknown code of the vendor's leaves open whether to believe it or the vendor's other devices.
    units = (unit, known) if unit[0] and unit[0][0] == "#" and unit[0] not in _UNITS else (unit,)
    return [outcome for each in units for outcome in _in_base_units(variable, value, each, differential)]


def _in_base_units(
    variable: Variable, value: float, unit: tuple[str | None, int | None], differential: bool
) -> list[Outcome]:
    code, factor = unit
    if code == "°F":
        return [("celsius", (value - 32) / 1.8)]
    if code is None or code not in _UNITS or factor is None:
        return [("value", value)]
    if code == "#PF" and abs(value) > 1:
        return [None]
    family, scale = _UNITS[code]
    base = value * 10.0**factor * scale
    if scale != 3600 or family == "seconds":
        return [(family, base)]
    last = variable.name.rpartition(".")[2]
    total: Outcome = (f"{family}_total", base) if base >= 0 else None
    if differential or last in _REGISTERS:
        return [total]
    return [(f"partial_{family}", base), total] if last in _PERHAPS_REGISTERS else [(f"partial_{family}", base)]


class Judge:
    """Compares what one read shows with what is true of the site at that moment."""

    def __init__(self, site: Site, found: list[Sample], before: "Judge | None") -> None:
        self.site = site
        self._before: _Shown = before.shown if before is not None else {}
        self.shown: _Shown = {(sample.family.name, sample.labels): sample.value for sample in found}
        self._tells = site.dialect.has("varInfo")
        self._types = site.dialect.has("deviceInfo")

    def _variables(self) -> Iterator[tuple[Device, Variable]]:
        return ((device, variable) for device in self.site.devices for variable in device.variables)

    def faults(self, settled: bool) -> Iterator[str]:
        """What is wrong; `settled` if the engine has had its time to tell everything."""
        yield from self._invented()
        shown: dict[tuple[str, ...], list[Outcome]] = {}
        for (name, labels), value in self.shown.items():
            if name.startswith("ccl_variable_") and len(labels) == 2:
                shown.setdefault(labels, []).append((name.removeprefix("ccl_variable_"), value))
        for device, variable in self._variables():
            allowed = self._allowed(device, variable, settled)
            outcome = shown.get((device.id, variable.name), [None])
            if len(outcome) != 1 or not any(_same(outcome[0], each) for each in allowed):
                yield f"{device.id!r} {variable}: shown is {outcome}, true is {allowed}"
        if settled:
            yield from self._devices()
            yield from self._plugs()
            yield from self._reading()

    def _allowed(self, device: Device, variable: Variable, settled: bool) -> list[Outcome]:
        """What may be shown; until the engine has answered everything, also what follows from less."""
        if not variable.has_value and not self.site.dialect.hidden_numbers:
            return [None]
        if settled:
            return outcomes(device, variable, self._tells and variable.described, self._types)
        guesses = ((listed, typed) for listed in (True, False) for typed in (True, False))
        return [None, *(each for guess in guesses for each in outcomes(device, variable, *guess))]

    def _invented(self) -> Iterator[str]:
        names = {(device.id, variable.name) for device, variable in self._variables()}
        titles = {(device.id, variable.name): variable.title for device, variable in self._variables()}
        ids = {device.id for device in self.site.devices}
        plugs = {plug.name for plug in self.site.plugs}
        for family, labels in self.shown:
            if family.startswith("ccl_variable_") and labels[:2] not in names:
                yield f"there is no variable {labels}"
            elif family == "ccl_variable_info" and not (
                labels[2] in ("", titles[labels[0], labels[1]]) or re.sub(", L[123]$", "", labels[2]) in _TITLES
            ):
                yield f"that is not the title of {labels}"
            elif family.startswith("ccl_device_") and labels[0] not in ids:
                yield f"there is no device {labels}"
            elif family.startswith(("ccl_plug_", "ccl_charge_")) and labels[0] not in plugs:
                yield f"there is no plug {labels}"

    def _reading(self) -> Iterator[str]:
        if self.shown["ccl_up", ()] != 1:
            yield "ccl_up is 0"
        # Of a device with neither type nor variables it is not known whether it should have answered.
        blank = any(not device.variables and not (device.type and self._types) for device in self.site.devices)
        for (family, labels), value in self.shown.items():
            if family == "ccl_scrape_document_success" and not value and not (blank and labels == ("values",)):
                yield f"{labels} is said to fail"

    def _devices(self) -> Iterator[str]:
        for device in self.site.devices:
            status = device.variable("STATUS")
            up = float(status is None or status.value == 1)
            if device.variables and self.shown.get(("ccl_device_up", (device.id,))) != up:
                yield f"{device.id!r} is not {'up' if up else 'down'}"
            if self.shown.get(("ccl_device_status", (device.id,))) != (status and status.value):
                yield f"the STATUS of {device.id!r} is not {status}"
            kind = device.type or "" if self._types else ""
            if ("ccl_device_info", (device.id, kind, "")) not in self.shown:
                yield f"{device.id!r} is not a {kind!r}"

    def _plugs(self) -> Iterator[str]:
        for plug in self.site.plugs:
            for family, value in self._meaning(plug).items():
                series = (family, (plug.name,))
                shown = self.shown.get(series)
                # Of two documents that have changed a read asks for one, and the next read for the other one.
                if family == "ccl_plug_locked" and shown is None and series in self._before:
                    continue
                if shown != pytest.approx(value):
                    yield f"{family} of {plug.name!r} is {value} and not {shown}"

    def _meaning(self, plug: Plug) -> dict[str, float | None]:
        """What the documents of chargePointsInterface say of a plug, each only if the engine has it."""
        has = self.site.dialect.has
        meaning: dict[str, float | None] = {}
        if has("plugInfo"):
            current = plug.info["supportedCurrent"]
            meaning["ccl_plug_current_max_amperes"] = None if current in ("-", "0") else float(current)
        if has("plugState"):
            meaning["ccl_plug_locked"] = float(plug.state["locked"] == "T")
        if has("chargeInfo"):
            for family, element, scale, least in (
                ("energy_joules", "partialActiveEnergy", 3600, 0.0),
                ("request_timestamp_seconds", "requestDate", 1, _YEAR_2015),
                ("begin_timestamp_seconds", "beginDate", 1, _YEAR_2015),
                ("end_timestamp_seconds", "endDate", 1, _YEAR_2015),
                ("stop_reason", "stopped", 1, 0.0),
            ):
                value = float(plug.charge[element])
                meaning[f"ccl_charge_{family}"] = value * scale if value >= least else None
            begin, end = (meaning[f"ccl_charge_{name}_timestamp_seconds"] for name in ("begin", "end"))
            if begin is not None and end is not None and end < begin:
                end = meaning["ccl_charge_end_timestamp_seconds"] = None
            seconds = float(plug.charge["chargeTime"])
            if seconds < 0 and begin is not None and end is not None:
                seconds = end - begin
            most = min(31 * 86_400.0, math.inf if begin is None or end is None else end - begin + 60)
            is_possible = begin is not None and 0 <= seconds <= most
            meaning["ccl_charge_duration_seconds"] = seconds if is_possible else None
        return meaning


def _same(shown: Outcome, true: Outcome) -> bool:
    if shown is None or true is None:
        return shown is true
    return shown[0] == true[0] and math.isclose(shown[1], true[1], rel_tol=1e-9, abs_tol=1e-9)


def texts(found: list[Sample]) -> tuple[str, str]:
    """Both expositions, each read by a parser and without a series that is there twice."""
    plain, openmetrics = (exposition(found, FAMILIES, accept)[0].decode() for accept in ("", OPENMETRICS))
    series = [
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in parse_text(plain)
        for sample in family.samples
    ]
    assert len(series) == len(set(series))
    assert len(series) == len(Scrape.of(openmetrics).samples)
    return plain, openmetrics


def seen_by_a_person(snapshot: Snapshot) -> str:
    """What the page and `show` tell of a read."""
    html = whole_page(snapshot, snapshot.taken).decode()
    return html + table(variable_rows(snapshot))


def personal_in(site: Site, text: str) -> list[str]:
    """The secrets of a site that a text holds, as text or as a number."""
    return [secret for secret in site.secrets if secret in text or f"{secret[0]}.{secret[1:]}" in text]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.mark.parametrize("seed", SEEDS)
def test_of_a_site_all_that_is_true_is_shown_and_nothing_else(
    server: Server, clock: Clock, caplog: pytest.LogCaptureFixture, tmp_path: Path, seed: int
) -> None:
    caplog.set_level(logging.DEBUG)
    site, random = drawn_site(seed), Random(seed)
    server.serve(site)
    engine = Engine(f"site {seed}", Transport(server.url, clock=clock.running))
    failure = max((failure.last for failure in site.failures if failure.kind != "slow"), default=0)
    settling = failure + SETTLING if failure else 0
    judge = None
    for number in range(1, settling + 1 + SETTLED):
        server.read = number
        snapshot = engine.read(60)
        found = samples(snapshot)
        judge = Judge(site, found, judge)
        wrong = list(judge.faults(settled=number > settling))
        leaked = personal_in(site, "".join(texts(found)) + seen_by_a_person(snapshot))

        assert not wrong, f"CCL_SITE_SEED={seed}, read {number}: {wrong[:5]}\n{site.dialect}\n{site.failures}"
        assert not leaked, f"CCL_SITE_SEED={seed}, read {number}: {leaked} is personal"
        site.move(random)
        clock.at += 15
    engine.close()
    recording = dump(Transport(server.url), tmp_path / "recording")
    recorded = "".join(path.read_text() for path in (tmp_path / "recording").rglob("*") if path.is_file())

    assert recording.written
    assert not personal_in(site, recorded), f"CCL_SITE_SEED={seed}: the recording has personal data"
    assert not personal_in(site, caplog.text), f"CCL_SITE_SEED={seed}: the log has personal data"
