"""Questions from a shell: check, show, get, dump; their exit codes; what they must not tell."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.support import COMMAND, Scrape, Start, scrape

from ccl_exporter.diagnostics.check import known_weaknesses
from ccl_exporter.simulator import Dialect, Fault, Simulator


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture
def wallbox() -> Iterator[Simulator]:
    with Simulator(autopilot=False) as simulator:
        yield simulator


def test_check_reports_what_the_charger_can_do(wallbox: Simulator) -> None:
    done = run("check", "-c", wallbox.url)

    assert done.returncode == 0
    assert "CirCarLife Scada 4.2.3" in done.stdout
    assert "devices:    6, variables: 171" in done.stdout
    assert "several devices at once; between parameters: &" in done.stdout
    assert "CVE-2018-16670" in done.stdout
    assert "scrape:     1 request in" in done.stdout
    assert done.stderr == ""


def test_check_reports_the_dialect_of_an_engine_that_takes_one_device_at_a_time() -> None:
    with Simulator(dialect=Dialect.parse(["wallbox-proven"]), autopilot=False) as simulator:
        report = json.loads(run("check", "--json", "-c", simulator.url).stdout)

    assert report["way"] == "deviceState.xml, one device at a time"
    assert (report["first_requests"], report["scrape_requests"]) == (195, 6)


@pytest.mark.parametrize(
    ("product", "version", "known"),
    [
        ("CirCarLife Scada", "4.2.3", 7),
        ("CirCarLife Scada", "4.3", 2),
        ("CirCarLife Scada", "4.3.0", 2),
        ("CirCarLife Scada", "4.3.1", 0),
        ("CirCarLife Scada", "10.0", 0),
        ("CirCarLife Scada", "", 0),
        ("PowerStudio", "4.0", 0),
    ],
)
def test_vulnerabilities_are_named_for_the_versions_that_have_them(product: str, version: str, known: int) -> None:
    assert len(known_weaknesses(product, version)) == known


def silent_server() -> socket.socket:
    """A host that takes connections and answers nothing, as a charger does to another subnet."""
    return socket.create_server(("127.0.0.1", 0))


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        ("html", 1, "does not respond like a PowerStudio engine"),
        ("garbled", 1, "does not respond like a PowerStudio engine"),
        ("redirect", 1, "does not respond like a PowerStudio engine"),
        ("status-404", 1, "does not respond like a PowerStudio engine"),
        ("status-401", 4, "asks for a login"),
        ("not-granted", 4, "asks for a login"),
    ],
)
def test_check_says_why_a_charger_cannot_be_read(fault: str, code: int, says: str) -> None:
    with Simulator(faults=[Fault.parse(fault)]) as simulator:
        done = run("check", "-c", simulator.url)

    assert done.returncode == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_check_distinguishes_a_refused_port_from_a_host_that_is_not_there() -> None:
    with silent_server() as probe:
        port = probe.getsockname()[1]
    refused = run("check", "-c", f"127.0.0.1:{port}")
    unknown = run("check", "-c", "no-such-host.invalid")

    assert (refused.returncode, unknown.returncode) == (3, 3)
    assert "no web server on this port" in refused.stderr
    assert "host name not found: no-such-host.invalid" in unknown.stderr


def test_check_reports_on_all_chargers_of_a_configuration_file(wallbox: Simulator, tmp_path: Path) -> None:
    with silent_server() as probe:
        port = probe.getsockname()[1]
    path = tmp_path / "ccl.yaml"
    path.write_text(f"chargers: {{left: {{url: '{wallbox.url}'}}, right: {{url: 'http://127.0.0.1:{port}'}}}}")
    table = run("check", "--all", "--config.file", str(path))
    report = json.loads(run("check", "--all", "--json", "--config.file", str(path)).stdout)

    assert table.returncode == 3
    header, left, right, advice = table.stdout.splitlines()
    assert header.split()[0] == "CHARGER"
    assert left.startswith("left     CirCarLife Scada 4.2.3      1        171")
    assert left.endswith("  OK")
    assert right.endswith("no connection to 127.0.0.1: Connection refused")
    assert advice.startswith("right: 127.0.0.1 is in use")
    assert [(one["charger"], one["error"] is None) for one in report] == [("left", True), ("right", False)]
    assert report[0]["report"]["variables"] == 171


def test_the_only_charger_of_a_configuration_file_needs_no_name(wallbox: Simulator, tmp_path: Path) -> None:
    one, six = tmp_path / "one.yaml", tmp_path / "six.yaml"
    one.write_text(f"chargers: {{garage: {{url: '{wallbox.url}'}}}}")
    bays = [f"bay-{bay}: {{url: 'http://192.0.2.{bay}'}}" for bay in range(1, 7)]
    six.write_text(f"chargers: {{{', '.join(bays)}}}")
    alone = run("charge", "status", CCL_CONFIG_FILE=str(one))
    several = run("charge", "status", "--config.file", str(six))

    assert (alone.returncode, several.returncode) == (0, 2)
    assert alone.stdout.startswith("EVSE.PLUG: ")
    assert "with -c: bay-1, bay-2, bay-3, bay-4, bay-5, …" in " ".join(several.stderr.split())


def test_check_of_all_chargers_needs_a_configuration_file() -> None:
    assert run("check", "--all").returncode == 2


def test_no_answer_is_reported_as_a_time_out_and_perhaps_the_wrong_subnet() -> None:
    with silent_server() as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        shown = run("show", "-c", address, "--timeout", "0.5")
        checked = run("check", "-c", address, "--timeout", "0.5")

    assert (shown.returncode, checked.returncode) == (3, 3)
    assert "no complete answer" in shown.stderr
    assert "subnet" in checked.stderr


def test_show_lists_title_value_unit_and_range(wallbox: Simulator) -> None:
    done = run("show", "*preduction", "EVSE.PLUG.AE", "-c", wallbox.url)

    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["VARIABLE", "VALUE", "UNIT,", "STATE", "WRITABLE", "RANGE", "TITLE"]
    assert lines[1][:4] == ["EVSE.PLUG.AE", "1234.56", "kWh", "no"]
    assert lines[2][:7] == ["Plug", "-", "Mode", "3.PREDUCTION", "0", "%", "yes"]
    assert lines[2][7] == "0..100"
    assert len(lines) == 3


def test_show_filters_by_device_and_by_what_can_be_written(wallbox: Simulator) -> None:
    reader = json.loads(run("show", "--json", "--device", "Reader", "-c", wallbox.url).stdout)
    writable = json.loads(run("show", "--json", "--writable", "-c", wallbox.url).stdout)

    assert {row["device"] for row in reader} == {"Reader"}
    assert len(reader) == 9
    assert all(row["writable"] for row in writable)
    assert "Plug - Mode 3.PREDUCTION" in {row["id"] for row in writable}


def test_show_watches_until_it_is_stopped(wallbox: Simulator, start: Start) -> None:
    process = start("show", "EVSE.PLUG.AE", "--watch", "--interval", "1", "-c", wallbox.url)
    for _ in range(2):
        process.line("EVSE.PLUG.AE")

    assert process.stop() == 0


def test_show_hides_what_is_personal_unless_it_is_asked_for(wallbox: Simulator) -> None:
    wallbox.site.set_value("EVSE.TAG", 4711.0)
    hidden = run("show", "EVSE.TAG", "-c", wallbox.url).stdout
    printed = run("show", "EVSE.TAG", "--sensitive", "-c", wallbox.url).stdout

    assert "4711" not in hidden
    assert "4711" in printed


def test_show_gives_no_value_of_an_unavailable_device() -> None:
    with Simulator(autopilot=False, faults=[Fault.parse("device-error:Plug - Meter")]) as simulator:
        rows = json.loads(run("show", "--json", "--device", "Plug - Meter", "-c", simulator.url).stdout)

    assert {row["variable"]: row["value"] for row in rows if row["value"] is not None} == {"STATUS": 34}


def test_get_prints_one_number(wallbox: Simulator) -> None:
    plain = run("get", "EVSE.PLUG.AE", CCL_CHARGER=wallbox.url)
    with_unit = run("get", "EVSE.PLUG.AE", "--unit", "-c", wallbox.url)

    assert (plain.returncode, plain.stdout) == (0, "1234.56\n")
    assert (with_unit.returncode, with_unit.stdout) == (0, "1234.56 kWh\n")


@pytest.mark.parametrize("dialect", ["full", "wallbox-proven", "state-only", "no-device-state", "no-varinfo"])
def test_get_takes_few_requests_of_any_engine(dialect: str) -> None:
    with Simulator(dialect=Dialect.parse([dialect]), autopilot=False) as simulator:
        done = run("get", "EVSE.PLUG.AE", "--unit", "-c", simulator.url)
        count = len(simulator.requests)

    assert done.stdout == "1234.56 kWh\n"
    assert count <= 8


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("EVSE.PLUG.AX", 2, "did you mean"),
        ("Garage.AE", 2, "no variable 'Garage.AE'"),
        ("EVSE.TAG", 4, "--sensitive"),
        ("EVSE.PLUG.TCCL", 1, "has no value"),
    ],
)
def test_get_says_why_there_is_no_number(wallbox: Simulator, name: str, code: int, says: str) -> None:
    done = run("get", name, "-c", wallbox.url)

    assert done.returncode == code
    assert says in done.stderr
    assert done.stdout == ""


def test_get_gives_no_number_of_an_unavailable_device() -> None:
    with Simulator(autopilot=False, faults=[Fault.parse("device-error:Plug - Meter")]) as simulator:
        done = run("get", "Plug - Meter.AE", "-c", simulator.url)

    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("dialect", ["full", "wallbox-proven"])
def test_a_recording_is_replayed_to_the_same_metrics(tmp_path: Path, start: Start, dialect: str) -> None:
    def shown(url: str) -> Scrape:
        """All metrics, once everything is described."""
        process = start("serve", url, "--web.listen-address", "127.0.0.1:0")
        process.wait_for_log("the inventory was read")
        return scrape(process.line(r"http://127\.0\.0\.1:\d+/metrics")[0])

    with Simulator(dialect=Dialect.parse([dialect]), autopilot=False, clock=lambda: 1_790_000_000.0) as simulator:
        before = shown(simulator.url)
        done = run("dump", str(tmp_path / "dump"), "-c", simulator.url)
    replay = start("simulate", "--recordings", str(tmp_path / "dump"), "--web.listen-address", "127.0.0.1:0")
    after = shown(replay.line(r"http://127\.0\.0\.1:\d+")[0])

    def own(samples: dict[tuple[str, frozenset[tuple[str, str]]], float]) -> dict[object, float]:
        return {
            key: value
            for key, value in samples.items()
            if key[0].startswith("ccl_") and not key[0].startswith(("ccl_scrape_", "ccl_exporter_"))
        }

    assert done.returncode == 0
    assert own(after.samples) == own(before.samples)


def test_a_recording_goes_only_into_an_empty_folder(wallbox: Simulator, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "diary").write_text("mine")
    done = run("dump", str(folder), "-c", wallbox.url)

    assert done.returncode == 2
    assert not wallbox.requests
    assert [path.name for path in folder.iterdir()] == ["diary"]


def test_a_recording_that_cannot_be_written_is_an_error_in_a_sentence(wallbox: Simulator, tmp_path: Path) -> None:
    command = [str(COMMAND), "dump", "-c", wallbox.url]
    for folder in ("/dev/null/x", str(tmp_path / ("x" * 300))):
        done = run(*command[1:], folder)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "cannot be written: " in done.stderr
    # A document that is larger than the shell lets a file be, as on a full disk.
    within = ["bash", "-c", 'ulimit -f 1; exec "$@"', "-"]
    full = subprocess.run([*within, *command, tmp_path / "half"], capture_output=True, text=True, check=False)

    assert (full.returncode, full.stderr.count("\n")) == (2, 1), full.stderr
    assert "half cannot be written: File too large" in full.stderr


def test_a_recording_goes_also_into_a_folder_whose_name_is_not_utf_8(wallbox: Simulator, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}  # as most locales are
    done = subprocess.run(
        [COMMAND, "dump", folder, "-c", wallbox.url], capture_output=True, check=False, env=strict
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(folder + b" holds ")


@pytest.mark.parametrize("command", ["setup -o", "charge trial", "simulate --recordings"])
def test_a_file_that_cannot_be_is_an_error_in_a_sentence(wallbox: Simulator, command: str) -> None:
    done = run(*command.split(), "x" * 300, CCL_CHARGER=wallbox.url)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.endswith("x: File name too long\n")
    assert not wallbox.requests


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        (["check", "-c", b"http://127.0.0.1/\xff"], 2, "is not the address of a charger"),
        (["serve", "--web.listen-address", b"\xff:1"], 2, "is not an address to listen on"),
        (
            ["charge", "plan", b"http://127.0.0.1:9/\xff", "--need", "1kWh", "--by", "07:00", "--dry-run"],
            0,
            "no connection; without prices the car charges as late as possible",
        ),
        (["get", b"EVSE.\xff"], 2, "no variable 'EVSE.\\udcff'"),
        (["set", b"Plug - Mode 3.\xff", "1"], 2, "no variable 'Plug - Mode 3.\\udcff'"),
    ],
    ids=["charger", "listen", "prices", "get", "set"],
)
def test_a_name_that_is_not_utf_8_is_an_error_in_a_sentence(
    wallbox: Simulator, command: list[str | bytes], code: int, says: str
) -> None:
    done = subprocess.run(
        [COMMAND, *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CCL_CHARGER": wallbox.url},
    )

    assert (done.returncode, says in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert not any(request.method == "PUT" for request in wallbox.requests)


PLANTED = [f"Mallory-{number:02d}" for number in range(50)]


@pytest.fixture
def mallory() -> Iterator[Simulator]:
    """A charger that holds fifty personal strings, and a personal number, wherever a charger can hold one."""
    with Simulator(autopilot=False) as simulator:
        site = simulator.site
        texts = [
            "EVSE.TAG_EX",
            "EVSE.PLUG.RESERVE_EX",
            "Reader.TAGEX",
            "Display.TEXT",
            *(f"{device.name}.{variable}" for device in site.devices() for variable in ("NAME", "DESCRIPTION")),
            *("CCL1Mini.KEYPAD1", "CCL1Mini.KEYPAD2", "CCL1Mini.KEYPAD3", "CCL1Mini.KEYPAD4"),
        ]
        for number, text in enumerate(texts):
            site.set_value(text, " ".join(PLANTED[number::20]))
        for number, name in enumerate(("EVSE.TAG", "EVSE.PLUG.RESERVE", "Reader.TAG")):
            site.set_value(name, 7_700_770_077.0 + number)
        site.plugs[0].plug_in()
        site.plugs[0].authorise(tag=PLANTED[-1])
        yield simulator


def leaks(text: str) -> list[str]:
    return [planted for planted in (*PLANTED, "770077007") if planted in text]


def test_nothing_personal_leaves_by_the_metrics_or_the_log(mallory: Simulator, start: Start) -> None:
    process = start("serve", mallory.url, "--web.listen-address", "127.0.0.1:0", "--log.level", "debug")
    url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
    found = [scrape(url) for _ in range(2)]
    mallory.faults = (Fault.parse("garbled"),)
    found.append(scrape(url))
    process.stop()

    assert not leaks("".join(scraped.text for scraped in found))
    assert not leaks("".join(process.log))


def test_nothing_personal_is_shown_without_asking(mallory: Simulator) -> None:
    for arguments in (("show",), ("show", "--json"), ("check",), ("check", "--json")):
        done = run(*arguments, "-c", mallory.url)

        assert done.returncode == 0
        assert not leaks(done.stdout + done.stderr)


@pytest.mark.parametrize("dialect", ["full", "wallbox-proven"])
def test_nothing_personal_is_in_a_recording(mallory: Simulator, tmp_path: Path, dialect: str) -> None:
    mallory.dialect = Dialect.parse([dialect])
    done = run("dump", str(tmp_path / "dump"), "-c", mallory.url)
    files = [path for path in (tmp_path / "dump").rglob("*") if path.is_file()]

    assert done.returncode == 0
    assert len(files) > 30
    assert not leaks(done.stdout + "".join(path.name + path.read_text() for path in files))


def test_a_recording_masks_serials_users_addresses_and_the_names_that_an_owner_chose(tmp_path: Path) -> None:
    with Simulator("twin", autopilot=False) as simulator:
        run("dump", str(tmp_path / "dump"), "-c", simulator.url)
        dumped = "".join(path.name + path.read_text() for path in (tmp_path / "dump").rglob("*") if path.is_file())

    assert "Poste Été" not in dumped
    assert "Xxxxx Éxé" not in dumped
    assert "Café" not in dumped
    assert "CVMMINI" in dumped
    assert "127.0.0.1" not in dumped


def test_show_exits_with_6_if_nothing_matches(wallbox: Simulator) -> None:
    plain = run("show", "reductio", "-c", wallbox.url)
    as_json = run("show", "--device", "No Such Device", "--json", "-c", wallbox.url)

    assert (plain.returncode, plain.stdout) == (6, "")
    assert "no variable matches; * stands for any characters" in plain.stderr
    assert (as_json.returncode, as_json.stdout) == (6, "[]\n")


def test_show_says_what_helps_if_the_charger_cannot_be_read() -> None:
    with Simulator(faults=[Fault.parse("html")]) as simulator:
        done = run("show", "-c", simulator.url)

    assert done.returncode == 1
    assert "does not respond like a PowerStudio engine" in done.stderr


@pytest.mark.parametrize("name", ["evse.plug.ae", "EVS.PLUG.AE", "EVSE PLUG AE"])
def test_get_suggests_a_variable_also_for_a_device_that_is_not_there(wallbox: Simulator, name: str) -> None:
    done = run("get", name, "-c", wallbox.url)

    assert done.returncode == 2
    assert "did you mean" in done.stderr
    assert "'EVSE.PLUG.AE'" in done.stderr


def test_charge_status_reports_every_plug_or_the_one_that_a_short_name_means() -> None:
    with Simulator("twin", autopilot=False) as simulator:
        names = [plug.name for plug in simulator.site.plugs]
        every = run("charge", "status", "-c", simulator.url)
        report = json.loads(run("charge", "status", "--json", "-c", simulator.url).stdout)
        one = run("charge", "status", "--plug", names[1].rpartition(".")[2].lower(), "-c", simulator.url)
        several = run("charge", "status", "--plug", "", "-c", simulator.url)
        none = run("charge", "status", "--plug", "nowhere", "-c", simulator.url)

    assert len(names) == 2
    assert [line.partition(": ")[0] for line in every.stdout.splitlines()] == names
    assert [plug["plug"] for plug in report] == names
    assert one.stdout.splitlines() == every.stdout.splitlines()[1:]
    assert several.returncode == none.returncode == 2
    assert "may be several plugs" in several.stderr
    assert "no plug 'nowhere'" in none.stderr


def test_charge_status_as_json_is_a_list_for_one_plug_too(wallbox: Simulator) -> None:
    (report,) = json.loads(run("charge", "status", "--json", "-c", wallbox.url).stdout)

    assert report["plug"] == "EVSE.PLUG"


def test_show_has_the_words_of_codes(wallbox: Simulator) -> None:
    table = run("show", "EVSE.*STATE", "EVSE.*ERROR", "-c", wallbox.url).stdout
    rows = json.loads(run("show", "--json", "-c", wallbox.url).stdout)

    states = {words[0]: words[2:] for words in map(str.split, table.splitlines())}
    assert states["EVSE.PLUG.STATE"][0] == "available"
    assert states["EVSE.PLUG.ERROR"][0] == "none"
    by_id = {row["id"]: row["words"] for row in rows}
    assert (by_id["EVSE.PLUG.STATE"], by_id["EVSE.PLUG.AE"]) == ("available", None)
