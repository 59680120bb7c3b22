"""What `/metrics` shows of a real charger's recorded answers, variable by variable against the XML."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from helpers.support import Scrape, Start, scrape

PERSONAL = {"EVSE.TAG", "EVSE.TAG_EX", "EVSE.PLUG.RESERVE", "EVSE.PLUG.RESERVE_EX", "Reader.TAG", "Reader.TAGEX"}

# What the recordings' numbers are in, by the last part of the name, by hand, not from the catalogue.
SCALES = {
    "joules_total": ({"AE"}, 3_600_000.0),
    "partial_joules": ({"PAE", "AEP"}, 3_600_000.0),
    "var_seconds_total": ({"IE", "CE"}, 3_600_000.0),
    "partial_var_seconds": ({"PIE", "PCE"}, 3_600_000.0),
    "watts": ({"API", "APMX", "APMN"}, 1000.0),
    "vars": ({"IPI", "CPI", "IPMX", "IPMN", "CPMX", "CPMN"}, 1000.0),
    "voltamperes": ({"VAI", "VAMX", "VAMN"}, 1000.0),
    "volts": ({"VI", "VMX", "VMN"}, 1.0),
    "amperes": ({"AI", "AMX", "AMN", "INTENSITY", "CURRENT_REDUCTION", "RCCC"}, 1.0),
    "ratio": ({"PFI", "PFMX", "PFMN"}, 1.0),
}


@pytest.fixture
def shown(recordings: Path, start: Start, serve: Callable[..., str]) -> Scrape:
    process = start("simulate", "--recordings", str(recordings), "--web.listen-address", "127.0.0.1:0")
    url = serve(process.line(r"http://127\.0\.0\.1:\d+")[0])
    scrape(url)  # a first value that chargeInfo does not know is shown once a second read has confirmed it
    return scrape(url)


def expected(name: str, text: ET.Element) -> tuple[str, float] | None:
    """The family and value that a recorded reading must have; None if it must not be shown."""
    last = name.rpartition(".")[2]
    date = text.findtext("textDate/date")
    if date is not None:
        moment = datetime.strptime(date.strip(), "%d%m%Y%H%M%S").replace(tzinfo=UTC)
        return "timestamp_seconds", moment.timestamp()
    sent = text.findtext("textValue/value")
    if sent is None or name in PERSONAL:
        return None
    value = float(sent)
    if last in ("PFI", "PFMX", "PFMN") and abs(value) > 1:
        return None
    if last == "TCI":
        return "celsius", value
    if last == "TFI":
        return "celsius", (value - 32) / 1.8
    if last == "PREDUCTION":
        return "ratio", value / 100
    for family, (names, scale) in SCALES.items():
        if last in names:
            return family, value * scale
    return "value", value


def test_every_recorded_variable_is_shown_as_the_xml_says(shown: Scrape, recordings: Path) -> None:
    wanted: dict[tuple[str, str, str], float] = {}
    count = 0
    for path in recordings.glob("services/devices/deviceState.xml*"):
        root = ET.parse(path).getroot()
        device = root.findtext("device") or ""
        for variable in root.iter("variable"):
            name, text = variable.findtext("id") or "", variable.find("text")
            assert text is not None
            count += 1
            if found := expected(name, text):
                wanted[f"ccl_variable_{found[0]}", device, name[len(device) + 1 :]] = found[1]
    walked = {
        (name, dict(labels)["device"], dict(labels)["variable"]): value
        for (name, labels), value in shown.samples.items()
        if name.startswith("ccl_variable_") and name != "ccl_variable_info"
    }

    assert count == 171
    assert walked == pytest.approx(wanted)


def test_the_real_meter_is_shown_in_joules(shown: Scrape) -> None:
    assert shown.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") == pytest.approx(4855.39 * 3.6e6)


def test_the_last_real_charge_is_shown_as_charge_info_says(shown: Scrape) -> None:
    assert shown.word("ccl_charge_stop_reason") == "remote"
    assert shown.get("ccl_variable_value", device="EVSE", variable="PLUG.STOPPED") == 6
    assert shown.get("ccl_charge_begin_timestamp_seconds", plug="EVSE.PLUG") is None
    assert shown.get("ccl_charge_request_timestamp_seconds", plug="EVSE.PLUG") == pytest.approx(1633452620.091)


def test_the_state_of_the_real_charger_is_understood(shown: Scrape) -> None:
    assert shown.word("ccl_plug_state", plug="EVSE.PLUG") == "available"
    assert shown.word("ccl_plug_status", plug="EVSE.PLUG") == "available"
    assert shown.get("ccl_plug_current_limit_amperes", plug="EVSE.PLUG") == 32
    assert {value for (name, _), value in shown.samples.items() if name == "ccl_scrape_document_success"} == {1}


def test_nothing_personal_of_the_real_charger_is_shown(shown: Scrape) -> None:
    assert "FFFFFF" not in shown.text
    assert "904x" not in shown.text
    assert not [name for name in PERSONAL if f'variable="{name.partition(".")[2]}"' in shown.text]
