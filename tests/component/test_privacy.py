"""What is personal leaves by no way: metrics, page, `show`, recordings; of strange engines and devices too."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from helpers.pages import whole_page
from helpers.site_engine import Server
from helpers.sites import Device, Dialect, Failure, Site, Variable
from helpers.support import Clock

from ccl_exporter.diagnostics.check import check
from ccl_exporter.diagnostics.dump import dump
from ccl_exporter.diagnostics.variable_table import as_json, table
from ccl_exporter.errors import Absent
from ccl_exporter.exporter.web.charger_json import charger_json
from ccl_exporter.metrics.families import FAMILIES
from ccl_exporter.metrics.samples import samples
from ccl_exporter.outputs.mqtt.payload import documents, payload
from ccl_exporter.outputs.prometheus import exposition
from ccl_exporter.powerstudio.advice import advice
from ccl_exporter.powerstudio.engine import Engine
from ccl_exporter.powerstudio.snapshot import Snapshot
from ccl_exporter.powerstudio.transport import Transport
from ccl_exporter.settings import MODULES
from ccl_exporter.station.rows import variable_rows

GATEWAY = Device(
    "GW",
    "GATEWAYX",
    "SN1",
    [
        Variable("STATUS", value=1.0),
        Variable("COUNT", value=7.0),
        Variable("WIFIPASSWORD", value=66120001.0, writable=True),
        Variable("KEY", value=66120002.0),
        Variable("ACCESSCODE", value=66120003.0),
        Variable("vin", value=66120004.0),
        Variable("SECURKEY", "text", "planted-key"),
        Variable("PHONE", "text", "planted-phone"),
        Variable("IDENTITY", "text", "planted-identity"),
        Variable("REMARK", "text", "planted-remark"),
    ],
)
BOARD = Device(
    "CCL1Mini",
    "CCL1MINIEMBEDDED",
    "SN2",
    [
        Variable("DI1", value=1.0),
        Variable("COUNT", value=66120005.0),
        Variable("KEYPAD1", value=66120006.0),
        Variable("TEXT", "text", "planted-text"),
        Variable("VOLTS", value=231.5, unit="#V"),
    ],
)
PLANTED = ("66120", "6.6120", "planted")
WIBEEE = {
    **{"softVersion": "4.4.124", "model": "WB3", "ipAddr": "192.0.2.7", "macAddr": "02:00:00:00:00:01"},
    **{"ssid": "planted-ssid", "securKey": "66120007", "vrms1": "231.10", "pap1": "2427.00", "eac1": "9123456"},
}


def shown(snapshot: Snapshot) -> str:
    """All that leaves by the metrics, by MQTT, as JSON, on the page and by `show`."""
    found = samples(snapshot)
    rows = variable_rows(snapshot)
    texts = [exposition(found, FAMILIES, "")[0].decode(), *map(payload, documents(found).values())]
    texts.append(charger_json("charger", "charger", snapshot.taken, True, found, MODULES).decode())
    texts.append(whole_page(snapshot, snapshot.taken).decode())
    return "\n".join([*texts, table(rows), as_json(rows)])


def leaks(text: str) -> list[str]:
    return [planted for planted in PLANTED if planted in text]


def recorded(url: str, folder: Path) -> str:
    dump(Transport(url), folder)
    return "".join(path.name + path.read_text() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


def test_of_a_device_of_an_unknown_type_no_secret_is_shown(server: Server, tmp_path: Path, clock: Clock) -> None:
    server.serve(Site(0, Dialect(), (), [GATEWAY]))
    snapshot = Engine("gateway", Transport(server.url, clock=clock.still)).read(30)

    assert leaks(shown(snapshot)) == []
    assert 'ccl_variable_value{device="GW",variable="COUNT"} 7.0' in shown(snapshot)
    assert leaks(recorded(server.url, tmp_path / "recording")) == []
    assert "planted-phone" in table(variable_rows(snapshot, sensitive=True))
    assert "66120001" in table(variable_rows(snapshot, sensitive=True))


@pytest.mark.parametrize("kind", ["absent", "garbled", "html", "empty", "status-500", "close"])
def test_while_the_types_of_devices_are_not_known_only_what_is_harmless_is_shown(
    server: Server, tmp_path: Path, clock: Clock, kind: str
) -> None:
    absent = frozenset({"deviceInfo"} if kind == "absent" else ())
    failures = () if absent else (Failure("deviceInfo", kind, 1),)
    server.serve(Site(0, Dialect(absent=absent), failures, [GATEWAY, BOARD]))
    engine = Engine("charger", Transport(server.url, clock=clock.still))
    server.read = 1
    text = shown(engine.read(30))

    assert leaks(text) == []
    assert leaks(recorded(server.url, tmp_path / "recording")) == []
    assert 'ccl_variable_value{device="CCL1Mini",variable="DI1"} 1.0' in text
    assert 'ccl_variable_volts{device="CCL1Mini",variable="VOLTS"} 231.5' in text
    assert 'variable="COUNT"} 7.0' not in text

    if not absent:
        server.read, clock.at = 2, clock.at + 60
        text = "".join(shown(engine.read(30)) for _ in range(2))

        assert 'ccl_variable_value{device="GW",variable="COUNT"} 7.0' in text
        assert "66120005" in text, "COUNT of the board"
        assert leaks(text.replace("66120005", "").replace("6.6120005e+07", "")) == []


def test_check_says_of_which_devices_the_type_is_not_known(server: Server) -> None:
    server.serve(Site(0, Dialect(absent=frozenset({"deviceInfo"})), (), [BOARD]))
    report = check(Engine("charger", Transport(server.url)), 15)

    assert report.untyped == ("CCL1Mini",)
    assert any("type of device CCL1Mini is not known" in line for line in report.lines())


def test_a_name_that_is_too_long_for_a_file_is_left_out_of_a_recording(server: Server, tmp_path: Path) -> None:
    long = Device("é" * 200, "CVM1D", "SN3", [Variable("STATUS", value=1.0)])
    server.serve(Site(0, Dialect(), (), [long]))
    recording = dump(Transport(server.url), tmp_path / "recording")

    assert any(name.startswith("services/user/values.xml?id=") for name in recording.left_out)
    assert "services/user/devices.xml" in recording.written


def test_a_recording_stays_in_its_folder_whatever_names_a_charger_sends(tmp_path: Path) -> None:
    name = "EVSE.A/../../../../victim/profile"
    answers = {
        "/services/user/devices.xml": "<devices><id>EVSE</id></devices>",
        "/services/user/deviceInfo.xml": f"<devices><device><id>EVSE</id><var>{name}</var></device></devices>",
        "/services/chargePointsInterface/deviceInfo.xml": "",
        "/services/user/varInfo.xml": "<varInfo></varInfo>",
    }
    victim = tmp_path / "victim" / "profile"
    victim.parent.mkdir()
    victim.write_text("mine")
    with answering(answers.get) as url:
        recording = dump(Transport(url), tmp_path / "recording")

    assert any("victim" in written for written in recording.written)
    assert victim.read_text() == "mine"
    assert [path for path in tmp_path.rglob("*victim*") if not path.is_relative_to(tmp_path / "recording")] == [
        victim.parent
    ]


def test_a_recording_has_no_text_of_a_root_and_no_id_of_a_plug_or_a_charge(tmp_path: Path) -> None:
    plug = "<plugInfo><id>planted-identity</id><name>EVSE.PLUG</name></plugInfo>"
    charge = "<chargeInfo><id>planted-text</id></chargeInfo>"
    answers = {
        "/services/user/devices.xml": "<devices><id>EVSE</id></devices>",
        "/services/user/values.xml": "<string>planted-remark</string>",
        "/services/chargePointsInterface/plugInfo.xml": f"<plugsInfo>planted-phone{plug}</plugsInfo>",
        "/services/chargePointsInterface/chargeInfo.xml": f"<chargesInfo>{charge}</chargesInfo>",
    }
    with answering(answers.get) as url:
        text = recorded(url, tmp_path / "recording")

    assert leaks(text) == []
    assert "<name>EVSE.PLUG</name>" in text


class TestEnginesOfAnotherKind:
    """A Wibeee has the same paths, but its values name no device (`luuuis/hass_wibeee`)."""

    @pytest.mark.parametrize("old_values", [True, False], ids=["values.xml", "values2.xml"])
    def test_check_says_that_they_are_not_supported(self, old_values: bool) -> None:
        with wibeee(old_values) as url, pytest.raises(Absent) as raised:
            check(Engine("wibeee", Transport(url)), 15)

        assert "nothing" not in str(raised.value)
        assert "Wibeee" in advice(raised.value, url)
        assert "answers" in advice(raised.value, url)
        assert "softVersion" in str(raised.value) or not old_values

    def test_the_service_logs_that_they_are_not_supported(self, caplog: pytest.LogCaptureFixture) -> None:
        with wibeee() as url:
            Engine("wibeee", Transport(url)).read(15)

        said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(said) == 1
        assert "values of other names ('softVersion, model" in said[0]
        assert "not supported" in said[0]

    def test_their_secrets_are_in_no_recording(self, tmp_path: Path) -> None:
        with wibeee() as url:
            text = recorded(url, tmp_path / "recording")

        assert "securKey" in text
        assert leaks(text) == []
        assert "192.0.2.7" not in text


@contextmanager
def wibeee(old_values: bool = True) -> Iterator[str]:
    """A Wibeee on loopback; from firmware 4.4.171 on it has no values.xml."""
    items = "".join(
        f"<variable><id>{name}</id><value>{value}</value></variable>" for name, value in WIBEEE.items()
    )
    answers = {"/services/user/devices.xml": "<devices><id>WIBEEE</id></devices>"}
    if old_values:
        answers["/services/user/values.xml"] = f"<values>{items}</values>"
    with answering(answers.get) as url:
        yield url


@contextmanager
def answering(answer: Callable[[str], str | None]) -> Iterator[str]:
    """A server on loopback that answers each path, whatever its parameters, or with 404."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            body = answer(self.path.partition("?")[0])
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or "")))
            self.end_headers()
            self.wfile.write((body or "").encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = Thread(target=httpd.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_port}"
        finally:
            httpd.shutdown()
            thread.join()
