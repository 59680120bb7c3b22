"""The installed command as its users meet it: served, scraped, stopped."""

import gzip
import http.client
import os
import re
import socket
import subprocess
import threading
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import bcrypt
import pytest
from helpers.support import COMMAND, OPENMETRICS, PROJECT, Scrape, Start, get, scrape, server

import ccl_exporter
from ccl_exporter.exporter.service import Options, Service
from ccl_exporter.settings import ChargerSettings, ListenAddress, Settings
from ccl_exporter.simulator import Simulator

WHERE = r"http://127\.0\.0\.1:\d+(?=/metrics)"


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMAND), *arguments], capture_output=True, text=True, timeout=60, check=False, env=env
    )


@pytest.mark.skipif(not os.environ.get("CI"), reason="CI tests the wheel; an editable install is the checkout")
def test_what_is_tested_is_the_installed_package_and_not_the_checkout() -> None:
    found = ccl_exporter.__file__

    assert not found.startswith(f"{PROJECT}/ccl_exporter"), (
        "run the README's test command, which installs the wheel"
    )


def test_two_scrapes_differ_only_in_values(serve: Callable[..., str]) -> None:
    with Simulator() as simulator:
        url = serve(simulator.url)
        first, second = (re.sub(r" [^ \n]+$", "", get(url), flags=re.MULTILINE) for _ in range(2))

    assert first == second


def test_promtool_finds_nothing_to_complain_of(serve: Callable[..., str]) -> None:
    promtool = server("promtool")
    for model in ("wallbox", "twin"):
        with Simulator(model) as simulator:
            text = get(serve(simulator.url))
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
        )

        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_open_metrics_has_what_the_text_has(serve: Callable[..., str]) -> None:
    with Simulator("twin", autopilot=False) as simulator:
        url = serve(simulator.url)
        open_metrics = Scrape.of(get(url, Accept=OPENMETRICS))
        text = get(url)

    names = {line.partition("{")[0].partition(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert names == open_metrics.names()


def test_the_answer_is_compressed_for_those_who_ask(serve: Callable[..., str]) -> None:
    with Simulator() as simulator:
        parts = urlsplit(serve(simulator.url))
        connection = http.client.HTTPConnection(parts.netloc)
        connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        response = connection.getresponse()
        body = response.read()
        connection.close()

    assert response.getheader("Content-Encoding") == "gzip"
    assert b"ccl_up 1.0" in gzip.decompress(body)


def test_scrapers_that_come_together_share_one_reading(serve: Callable[..., str]) -> None:
    with Simulator(latency=0.3) as simulator:
        url = serve(simulator.url)
        scrape(url)
        simulator.clear_requests()
        answers: list[Scrape] = []
        threads = [threading.Thread(target=lambda: answers.append(scrape(url))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(answers) == 6
        assert simulator.max_in_flight == 1
        assert all(answer.get("ccl_up") == 1 for answer in answers)


def test_idle_connections_do_not_block_others(serve: Callable[..., str]) -> None:
    with Simulator() as simulator, ExitStack() as silent:
        url = serve(simulator.url)
        scrape(url)
        parts = urlsplit(url)
        for _ in range(50):
            silent.enter_context(socket.create_connection((parts.hostname or "", parts.port or 0)))
        began = monotonic()
        scrape(url)
        took = monotonic() - began

    # Each of them may be silent for ten seconds, and there are more of them than workers.
    assert took < 10


def test_without_reads_of_its_own_nothing_is_asked_before_a_scrape(start: Start) -> None:
    with Simulator() as simulator:
        process = start(
            *("serve", simulator.url, "--web.listen-address", "127.0.0.1:0", "--poll.fallback-interval", "0s")
        )
        url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]

        assert get(f"{url}/-/healthy") == "Healthy\n"
        assert get(f"{url}/sd")
        assert not simulator.requests


def test_the_page_shows_the_charger_without_any_scrape(serve: Callable[..., str]) -> None:
    with Simulator() as simulator:
        page = get(serve(simulator.url).removesuffix("metrics"))

    assert "Not charging" in page
    assert "1234.56<small>&nbsp;kWh" in page


def test_when_a_charger_is_used_is_shown_on_this_machine_and_behind_a_login(start: Start, tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{alice: {hashed}}}")
    login = f"Basic {b64encode(b'alice:secret').decode()}"
    history = "<dt>Today</dt>"
    with Simulator(autopilot=False) as simulator:
        plain, guarded = (
            start("serve", simulator.url, "--web.listen-address", "127.0.0.1:0", *arguments).line(WHERE)[0]
            for arguments in ([], ["--web.config.file", str(tmp_path / "web.yml")])
        )
        for path in ("", f"charger/{urlsplit(simulator.url).netloc}"):
            assert history in get(f"{plain}/{path}")
            assert history not in get(f"{plain}/{path}", Host="evse.example:9986")
            assert history not in get(f"{plain}/{path}", X_Forwarded_For="192.0.2.7")
            assert history in get(f"{guarded}/{path}", Host="evse.example:9986", Authorization=login)


def test_a_page_that_is_viewed_often_has_an_unresponsive_charger_read_only_once_at_a_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        silent = {
            name: ChargerSettings(name, f"http://127.0.0.1:{trap.getsockname()[1]}")
            for name, trap in {"one": one, "two": two}.items()
        }
        service = Service(Settings(silent), Options(ListenAddress("127.0.0.1", 0)), tmp_path)
        url = service.bind()
        serving = threading.Thread(target=service.run)
        serving.start()
        try:
            for _ in range(5):
                get(url)
            # The pool takes a thread more for each reading that finds all others at work.
            readers = [thread.name for thread in threading.enumerate() if thread.name.startswith("page")]
        finally:
            service.stop()
            serving.join()

    assert len(readers) == 2


def test_the_charger_may_be_named_by_the_environment(start: Start) -> None:
    with Simulator() as simulator:
        process = start("serve", "--web.listen-address", "127.0.0.1:0", env={"CCL_CHARGER": simulator.url})

        assert scrape(process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]).get("ccl_up") == 1


@pytest.mark.parametrize(
    "command", [("serve", "http://127.0.0.1:9"), ("demo",), ("simulate",)], ids=lambda command: command[0]
)
def test_a_command_ends_cleanly_after_a_signal(start: Start, command: tuple[str, ...]) -> None:
    process = start(*command, "--web.listen-address", "127.0.0.1:0")
    process.line(r"http://127\.0\.0\.1:\d+")

    assert process.stop() == 0
    assert not [line for line in process.log if "Traceback" in line]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serve",), "no charger is named"),
        (("serve", "ftp://evse"), "is not the address of a charger"),
        (("serve", "http://me:secret@evse"), "must not hold a user name or password"),
        (("serve", "evse", "--web.listen-address", "9986"), "is not an address to listen on"),
        (
            ("serve", "evse", "--web.listen-address", "192.0.2.1:9986"),
            "cannot listen on 192.0.2.1:9986: cannot assign",
        ),
        (("serve", "evse", "--no-such-flag"), "No such option"),
        (("demo", "--speed", "0"), "Invalid value"),
        (("simulate", "--recordings", "/nonexistent"), "holds no recording"),
        (("simulate", "--model", "toaster"), "there is no model"),
        (("simulate", "--dialect", "klingon"), "klingon"),
        (("simulate", "--fault", "gremlins"), "gremlins"),
        (("simulate", "--chargers", "9", "--web.listen-address", "127.0.0.1:65530"), "on 127.0.0.1:65536"),
        (("fly",), "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_error_is_reported_in_a_sentence_and_with_exit_code_2(arguments: tuple[str, ...], says: str) -> None:
    done = run(*arguments)

    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("flag", ["--dialect", "--fault"])
def test_the_simulator_lists_what_it_can_simulate(flag: str) -> None:
    done = run("simulate", flag, "list")

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 20


def test_help_and_version_need_no_library_of_the_service() -> None:
    for arguments in (["--help"], ["--version"]):
        code = (
            "import sys; sys.argv = ['ccl-exporter', *sys.argv[1:]]\n"
            "from ccl_exporter.cli.main import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
            "slow = {'requests', 'prometheus_client', 'cheroot', 'defusedxml'} & set(sys.modules)\n"
            "assert not slow, slow\n"
        )
        done = subprocess.run(
            [str(COMMAND.with_name("python")), "-c", code, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        assert done.returncode == 0, done.stderr


def test_a_simulated_charge_can_be_followed_in_the_demo(start: Start) -> None:
    process = start("demo", "--web.listen-address", "127.0.0.1:0", "--speed", "20")
    url = process.line(r"http://127\.0\.0\.1:\d+/metrics")[0]
    states: list[str] = []
    energies: list[float] = []
    while states[-1:] != ["charging"] or len(energies) < 2 or energies[-1] <= energies[0]:
        found = scrape(url)
        states.append(found.word("ccl_plug_state", plug="EVSE.PLUG") or "")
        energy = found.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG")
        assert energy is not None
        energies.append(energy)
        assert len(states) < 10_000

    assert energies == sorted(energies)
    assert states[-1] == "charging"
