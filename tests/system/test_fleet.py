"""Many chargers from one file: probes, discovery, reload; and nothing that is not configured is ever contacted."""

import http.client
import json
import os
import queue
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import quote, urlsplit

import pytest
import trustme
from helpers.hostile import hostile
from helpers.misbehaving_servers import unresponsive_host
from helpers.prometheus import await_value, running
from helpers.support import COMMAND, OPENMETRICS, PROJECT, Process, Scrape, Start, get, scrape

from ccl_exporter.simulator import Simulator

HOSTILE_REQUESTS = int(os.environ.get("CCL_HOSTILE_REQUESTS", "1500"))


@pytest.fixture
def simulators() -> Iterator[list[Simulator]]:
    with Simulator(autopilot=False) as one, Simulator("twin", autopilot=False) as two:
        yield [one, two]


@pytest.fixture
def config(simulators: list[Simulator], tmp_path: Path) -> Path:
    path = tmp_path / "ccl.yaml"
    path.write_text(
        "chargers:\n"
        f"  garage:\n    url: '{simulators[0].url}'\n    labels: {{site: north}}\n"
        "    variables: {exclude: ['CCL1Mini.PWMO*']}\n"
        f"  car-park: {{url: '{simulators[1].url}', timeout: 5s, username: monitor, password: s3cr3t-Pa55}}\n"
    )
    return path


@pytest.fixture
def service(config: Path, start: Start) -> tuple[Process, str]:
    process = start(
        "serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0", "--web.enable-lifecycle"
    )
    return process, process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]


def status(url: str, method: str = "GET") -> tuple[int, str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request(method, url.removeprefix(f"http://{parts.netloc}"))
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    return response.status, body


def targets(url: str) -> list[str]:
    """The names that discovery tells."""
    return [group["targets"][0] for group in json.loads(get(f"{url}/sd"))]


def test_a_probe_answers_for_one_charger_and_without_the_exporters_own_metrics(
    service: tuple[Process, str],
) -> None:
    _, url = service
    garage = scrape(f"{url}/probe?target=garage")
    car_park = scrape(f"{url}/probe?target=car-park")

    assert garage.get("ccl_plug_vehicle_connected", plug="EVSE.PLUG") == 0
    assert car_park.get("ccl_plug_vehicle_connected", plug="Poste Été.PLUG_A") == 0
    assert not [name for name in garage.names() if not name.startswith("ccl_") or name.startswith("ccl_exporter_")]
    assert 'variable="PWMO1"' not in garage.text


def test_with_several_chargers_the_own_page_has_only_the_exporters_metrics(service: tuple[Process, str]) -> None:
    _, url = service
    scrape(f"{url}/probe?target=garage")
    own = Scrape.of(get(f"{url}/metrics", Accept=OPENMETRICS))

    assert "ccl_up" not in own.names()
    assert own.get("ccl_exporter_charger_reads_total", charger="garage") in (
        1,
        2,
    )  # one more confirms first values
    assert own.get("ccl_exporter_charger_reads_total", charger="car-park") == 0
    assert own.get("ccl_exporter_config_last_reload_successful") == 1


def test_a_module_asks_only_for_what_it_needs(service: tuple[Process, str], simulators: list[Simulator]) -> None:
    _, url = service
    meaning = scrape(f"{url}/probe?target=garage&module=core")
    simulators[0].clear_requests()
    meaning = scrape(f"{url}/probe?target=garage&module=core")

    assert not [name for name in meaning.names() if name.startswith("ccl_variable_")]
    assert meaning.get("ccl_plug_energy_joules_total", plug="EVSE.PLUG") is not None
    assert not [request.target for request in simulators[0].requests if "Display" in request.target]


def test_discovery_has_the_labels_of_the_configuration(service: tuple[Process, str]) -> None:
    _, url = service

    assert json.loads(get(f"{url}/sd")) == [
        {"targets": ["garage"], "labels": {"site": "north"}},
        {"targets": ["car-park"], "labels": {}},
    ]


def test_secrets_are_masked_wherever_the_configuration_is_shown(service: tuple[Process, str]) -> None:
    process, url = service
    shown = get(f"{url}/config") + get(f"{url}/probe?target=car-park&debug=true") + get(url)
    process.stop()

    assert "<secret>" in shown
    assert "Metrics that would have been returned" in shown
    assert "s3cr3t" not in shown + "".join(process.log)


def test_a_target_that_is_not_configured_is_refused_without_a_connection(service: tuple[Process, str]) -> None:
    _, url = service
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        port = trap.getsockname()[1]
        for target in (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
            assert status(f"{url}/probe?target={quote(target, safe='')}")[0] == 400
        with pytest.raises(TimeoutError):
            trap.accept()


def test_only_addresses_of_an_admitted_network_may_be_probed_unnamed(
    simulators: list[Simulator], tmp_path: Path, start: Start
) -> None:
    path = tmp_path / "ccl.yaml"
    path.write_text("probe: {allow_networks: [127.0.0.1/32]}\nchargers: {}\n")
    process = start("serve", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0")
    url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]
    port = simulators[0].port

    assert scrape(f"{url}/probe?target=127.0.0.1:{port}").get("ccl_up") == 1
    for target in (
        f"127.0.0.2:{port}",
        "169.254.169.254",
        "no-such-host.invalid",
        "http://user:pw@127.0.0.1",
        "[::1]",
    ):
        assert status(f"{url}/probe?target={quote(target, safe='')}")[0] == 400
    assert not any(request.authorization is not None for request in simulators[0].requests)


@pytest.mark.parametrize("way", ["signal", "post"])
def test_a_reload_takes_what_is_new_and_keeps_the_old_when_it_is_wrong(
    service: tuple[Process, str], config: Path, way: str
) -> None:
    process, url = service
    good = config.read_text()

    def reload() -> int:
        if way == "post":
            return status(f"{url}/-/reload", "POST")[0]
        process.process.send_signal(signal.SIGHUP)
        return 0

    config.write_text(good.replace("garage", "barn"))
    reload()
    process.wait_for_log("the configuration was read again")
    names = targets(url)
    config.write_text("chargers: {barn: {url: 7, colour: red}}\n")
    code = reload()
    process.wait_for_log("is invalid, the running one is kept")
    own = Scrape.of(get(f"{url}/metrics", Accept=OPENMETRICS))

    assert names == ["barn", "car-park"]
    assert code in (0, 500)
    assert own.get("ccl_exporter_config_last_reload_successful") == 0
    assert status(f"{url}/probe?target=barn")[0] == 200
    assert status(f"{url}/probe?target=garage")[0] == 400


def test_a_second_inventory_is_taken_up_without_a_restart(
    simulators: list[Simulator], tmp_path: Path, start: Start
) -> None:
    more = tmp_path / "more.yaml"
    more.write_text(f"one: {{url: '{simulators[0].url}'}}\n")
    path = tmp_path / "ccl.yaml"
    path.write_text("chargers: {}\nchargers_from: {file: more.yaml, interval: 1s}\n")
    process = start("serve", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0")
    url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]
    before = status(f"{url}/probe?target=one")[0]
    more.write_text(more.read_text() + f"two: {{url: '{simulators[1].url}'}}\n")
    process.wait_for_log("the inventory has changed: 2 chargers")
    more.write_text("one: {")
    process.wait_for_log("the inventory is invalid, the last one is kept")

    assert before == 200
    assert [status(f"{url}/probe?target={name}")[0] for name in ("one", "two")] == [200, 200]


class InventoryServer(ThreadingHTTPServer):
    """An inventory over HTTP; each question waits in `questions` until the test sets it, then has the answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _InventoryAnswer)
        self.text = ""
        self.questions: queue.Queue[threading.Event] = queue.Queue()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def question(self) -> threading.Event:
        return self.questions.get(timeout=60)


class _InventoryAnswer(BaseHTTPRequestHandler):
    server: InventoryServer

    def do_GET(self) -> None:
        question = threading.Event()
        self.server.questions.put(question)
        question.wait()
        body = self.server.text.encode()
        with suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def inventory() -> Iterator[InventoryServer]:
    with InventoryServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_reload_while_the_inventory_is_read_is_not_undone_by_it(
    inventory: InventoryServer, tmp_path: Path, start: Start
) -> None:
    path = tmp_path / "ccl.yaml"
    source = f"chargers_from: {{url: '{inventory.url}', interval: 1s}}\n"
    path.write_text(f"chargers: {{old: {{url: 'http://127.0.0.1:9'}}}}\n{source}")
    inventory.text = "one: {url: 'http://127.0.0.2:9'}\n"
    process = start("serve", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0")
    inventory.question().set()
    url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]
    under_way = inventory.question()
    inventory.text += "two: {url: 'http://127.0.0.3:9'}\n"
    path.write_text(f"chargers: {{new: {{url: 'http://127.0.0.1:9'}}}}\n{source}")
    process.process.send_signal(signal.SIGHUP)
    inventory.question().set()
    process.wait_for_log("the configuration was read again: 3 chargers")
    under_way.set()
    following = inventory.question()  # comes when what was under way has been dealt with
    names = targets(url)
    following.set()

    assert names == ["new", "one", "two"]


@pytest.mark.parametrize("broken", ["one: {", None], ids=["invalid", "missing"])
def test_a_reload_keeps_the_last_inventory_while_it_cannot_be_used(
    broken: str | None, tmp_path: Path, start: Start
) -> None:
    path, more = tmp_path / "ccl.yaml", tmp_path / "more.yaml"
    good = "one: {url: 'http://127.0.0.2:9'}\nmoved: {url: 'http://127.0.0.3:9'}\n"
    more.write_text(good)
    source = "chargers_from: {file: more.yaml, interval: 1h}\n"
    path.write_text(f"chargers: {{old: {{url: 'http://127.0.0.1:9'}}}}\n{source}")
    process = start(
        "serve", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0", "--web.enable-lifecycle"
    )
    url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]
    if broken is None:
        more.unlink()
    else:
        more.write_text(broken)
    path.write_text(f"chargers: {{new: {{url: 'http://127.0.0.3:9'}}}}\n{source}")
    process.process.send_signal(signal.SIGHUP)
    process.wait_for_log("the configuration was read again")
    kept = targets(url)
    process.wait_for_log(r"the inventory is invalid, the last one is kept: .*more\.yaml")
    path.write_text(path.read_text().replace("more.yaml", "other.yaml"))
    code, says = status(f"{url}/-/reload", "POST")
    refused = targets(url)
    more.write_text(good.replace("moved", "two").replace("127.0.0.3", "127.0.0.4"))
    process.wait_for_log("the inventory can be used again")

    assert kept == refused == ["new", "one"]
    assert code == 500
    assert "other.yaml: cannot be read" in says
    assert targets(url) == ["new", "one", "two"]


def test_an_inventory_that_is_invalid_at_the_start_is_not_known_also_after_a_reload(
    start: Start, tmp_path: Path
) -> None:
    more = tmp_path / "more.yaml"
    more.write_text("two: {url: 'http://127.0.0.2:9', titel: x}\n")
    own = "chargers: {one: {url: 'http://127.0.0.1:9'}}\n"
    (tmp_path / "ccl.yaml").write_text(f"{own}chargers_from: {{file: more.yaml, interval: 1s}}\n")
    flags = ("--config.file", str(tmp_path / "ccl.yaml"), "--web.listen-address", "127.0.0.1:0")
    process = start("serve", *flags)
    url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]
    process.wait_for_log("more.yaml:1: two.titel")
    before = status(f"{url}/sd")[0]
    process.process.send_signal(signal.SIGHUP)
    process.wait_for_log("the configuration was read again")
    after = status(f"{url}/sd")[0]
    more.write_text("two: {url: 'http://127.0.0.2:9'}\n")
    process.wait_for_log("the inventory can be used again")

    assert (before, after) == (503, 503)
    assert targets(url) == ["one", "two"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["charge", "limit", "50%"], 2),
        (["charge", "limit", "50%", "-c", "two"], 2),
        (["check", "--all"], 2),
        (["charge", "limit", "50%", "-c", "localhost"], 2),
        (["charge", "status", "-c", "one"], 0),
        (["charge", "status", "-c", "ADDRESS"], 0),
        (["charge", "status", "-c", "http://ADDRESS"], 0),
    ],
    ids=["none is named", "one of the inventory", "all", "a host", "one of the file", "an address", "a URL"],
)
def test_a_command_does_not_guess_who_is_meant_while_the_inventory_is_invalid(
    command: list[str], code: int, tmp_path: Path
) -> None:
    with Simulator(autopilot=False) as one:
        (tmp_path / "more.yaml").write_text("two: {url: 'http://127.0.0.2:9', titel: x}\n")
        config = tmp_path / "ccl.yaml"
        config.write_text(f"chargers: {{one: {{url: '{one.url}'}}}}\nchargers_from: {{file: more.yaml}}\n")
        words = [word.replace("ADDRESS", f"127.0.0.1:{one.port}") for word in command]
        done = subprocess.run(
            [str(COMMAND), *words, "--config.file", str(config)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        requests = len(one.requests)

    assert done.returncode == code, done.stderr
    assert ("two.titel: unknown key" in done.stderr, requests == 0) == (code == 2, code == 2)


def test_a_charger_that_is_down_may_fail_the_scrape_for_those_who_want_that(start: Start) -> None:
    process = start("serve", "http://127.0.0.1:9", "--web.fail-on-down", "--web.listen-address", "127.0.0.1:0")
    code, body = status(process.line(r"http://127\.0\.0\.1:\d+/metrics")[0])

    assert code == 503
    assert "ccl_up 0.0" in body


def test_the_files_can_be_checked_without_serving(config: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("chargers:\n  a: {url: 'ftp://x'}\n  b: {url: http://evse, colour: red}\nserver: 1\n")
    good, wrong = (
        subprocess.run(
            [str(COMMAND), "serve", "--config.file", str(path), "--config.check"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        for path in (config, bad)
    )

    assert (good.returncode, wrong.returncode) == (0, 2)
    assert "2 chargers" in good.stdout
    assert all(f"bad.yaml:{line}:" in wrong.stderr for line in (2, 3, 4))


def test_a_command_knows_a_charger_by_its_name_in_the_file(config: Path) -> None:
    done = subprocess.run(
        [str(COMMAND), "get", "EVSE.PLUG.AE", "-c", "garage", "--config.file", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.stdout == "1234.56\n"


def test_hostile_requests_reach_no_charger_break_nothing_and_leave_nothing_behind(
    service: tuple[Process, str],
) -> None:
    process, url = service
    scrape(f"{url}/probe?target=garage")
    own = urlsplit(url)
    seed = random.SystemRandom().randrange(10**9)
    random_source = random.Random(seed)
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.05)
        port = trap.getsockname()[1]
        before: tuple[int, int] | None = None
        for number in range(HOSTILE_REQUESTS):
            with socket.create_connection((own.hostname or "", own.port or 0), timeout=30) as connection:
                try:
                    connection.sendall(hostile(random_source, port))
                    connection.shutdown(socket.SHUT_WR)
                    line = connection.recv(200).partition(b"\r\n")[0]
                except OSError:
                    line = b""
            # 501 and 505 are the server's own words for a request that it does not understand.
            assert not line.startswith((b"HTTP/1.1 500", b"HTTP/1.1 502", b"HTTP/1.1 503", b"HTTP/1.1 504")), (
                seed,
                number,
            )
            if number == HOSTILE_REQUESTS // 3:
                before = footprint(process)
        with pytest.raises(TimeoutError):
            trap.accept()
    after = footprint(process)

    assert before is not None
    assert after[0] <= before[0] + 3, "file descriptors"
    assert after[1] <= before[1] * 1.1 + 2048, "memory in kB"
    assert scrape(f"{url}/probe?target=garage").get("ccl_up") == 1
    assert "Traceback" not in "".join(process.log), (seed, "".join(process.log)[-4000:])


@pytest.mark.alone
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_another_peer_delays_no_health_check(config: Path, start: Start, tmp_path: Path, secure: bool) -> None:
    """The peer keeps 1,000 slow connections open and sends hostile requests as fast as it can."""
    flags: tuple[str, ...] = ()
    context = None
    if secure:
        ca = trustme.CA()
        pair = ca.issue_cert("127.0.0.1")
        pair.private_key_pem.write_to_path(tmp_path / "server.key")
        pair.cert_chain_pems[0].write_to_path(tmp_path / "server.crt")
        web = tmp_path / "web.yml"
        web.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
        flags = ("--web.config.file", str(web))
        context = ssl.create_default_context()
        ca.configure_trust(context)
    process = start("serve", "--config.file", str(config), "--web.listen-address", "127.0.0.1:0", *flags)
    port = int(process.line(r"https?://127\.0\.0\.1:(\d+)/metrics")[1])

    def health_check() -> float:
        """Seconds of one, with a connection of its own."""
        began = monotonic()
        connection = (
            http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
            if context is not None
            else http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        )
        with closing(connection):
            connection.request("GET", "/-/healthy")
            assert connection.getresponse().read() == b"Healthy\n"
        return monotonic() - began

    seed = random.SystemRandom().randrange(10**9)
    attack = subprocess.Popen(
        [sys.executable, "-m", "helpers.hostile", str(port), str(HOSTILE_REQUESTS), str(seed)],
        cwd=PROJECT / "tests",
        stdout=subprocess.PIPE,
        text=True,
    )
    assert attack.stdout is not None
    with attack:
        assert attack.stdout.readline() == "1000 slow connections\n"
        seconds = []
        while attack.poll() is None:
            seconds.append(health_check())
            sleep(0.05)
        said = attack.stdout.read()
    # The figures of the long form.
    print(f"{len(seconds)} health checks, the slowest {max(seconds):.3f} s; {said.strip()}")  # noqa: T201

    assert attack.returncode == 0
    assert len(seconds) > 20
    assert max(seconds) < 1, seed
    assert "Traceback" not in "".join(process.log)
    assert len(process.log) < 20


@pytest.mark.alone
def test_one_peer_that_waits_for_an_unresponsive_charger_does_not_block_others(start: Start) -> None:
    """More requests than the exporter has threads, each of which waits for the charger's only reader."""
    with unresponsive_host() as silent, ExitStack() as stack:
        process = start("serve", f"http://{silent}", "--web.listen-address", "127.0.0.1:0")
        port = int(process.line(r"http://127\.0\.0\.1:(\d+)(?=/metrics)")[1])
        for _ in range(700):
            connection = socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.2", 0))
            stack.callback(connection.close)
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for _ in range(5):
            began = monotonic()
            assert get(f"http://127.0.0.1:{port}/-/healthy") == "Healthy\n"
            assert monotonic() - began < 1


def footprint(process: Process) -> tuple[int, int]:
    """Open descriptors and resident kilobytes, once the connections of the moment are closed."""
    folder = Path(f"/proc/{process.process.pid}")
    began = monotonic()
    counts = [len(list((folder / "fd").iterdir()))]
    while monotonic() - began < 2:
        counts.append(len(list((folder / "fd").iterdir())))
        sleep(0.1)
    resident = next(line for line in (folder / "status").read_text().splitlines() if line.startswith("VmRSS"))
    return min(counts), int(resident.split()[1])


def test_prometheus_discovers_the_chargers_of_a_car_park(start: Start, tmp_path: Path) -> None:
    count = 50
    simulate = start("simulate", "--chargers", str(count), "--web.listen-address", "127.0.0.1:0")
    first = int(simulate.line(r"http://127\.0\.0\.1:(\d+)")[1])
    urls = [f"http://127.0.0.1:{first + number}" for number in range(count)]
    path = tmp_path / "ccl.yaml"
    path.write_text(
        "chargers:\n"
        + "".join(
            f"  bay-{number}: {{url: '{url}', labels: {{row: r{number % 3}}}}}\n"
            for number, url in enumerate(urls)
        )
    )
    process = start("serve", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0")
    target = process.line(r"127\.0\.0\.1:\d+(?=/metrics)")[0]
    scrape_config = (
        "  - job_name: evse\n"
        "    metrics_path: /probe\n"
        "    scrape_interval: 5s\n"
        "    scrape_timeout: 5s\n"
        f"    http_sd_configs: [{{url: 'http://{target}/sd', refresh_interval: 1s}}]\n"
        "    relabel_configs:\n"
        "      - {source_labels: [__address__], target_label: __param_target}\n"
        "      - {source_labels: [__param_target], target_label: instance}\n"
        f"      - {{target_label: __address__, replacement: '{target}'}}\n"
    )
    with running(tmp_path, scrape_config) as prometheus:
        up = await_value(prometheus, f"count(ccl_up == 1) == {count}")
        rows = await_value(prometheus, "count(count by (row) (ccl_plug_energy_joules_total))")
        instance = await_value(prometheus, 'ccl_up{instance="bay-37", row="r1"}')

    assert (up, rows, instance) == (count, 3, 1)


def test_one_unreachable_charger_breaks_no_other(
    simulators: list[Simulator], tmp_path: Path, start: Start
) -> None:
    path = tmp_path / "ccl.yaml"
    path.write_text(f"chargers: {{good: {{url: '{simulators[0].url}'}}, dead: {{url: 'http://127.0.0.1:9'}}}}\n")
    process = start("serve", "--config.file", str(path), "--web.listen-address", "127.0.0.1:0")
    url = process.line(r"http://127\.0\.0\.1:\d+(?=/metrics)")[0]
    ups: list[float] = []
    threads = [
        threading.Thread(
            target=lambda name=name: ups.append(scrape(f"{url}/probe?target={name}").get("ccl_up") or 0.0)
        )
        for name in ("good", "dead") * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(ups) == [0, 0, 0, 1, 1, 1]
    with pytest.raises(urllib.error.HTTPError):
        get(f"{url}/probe?target=none")


def test_a_hang_up_where_there_is_no_file_to_read_again_is_answered_in_the_log(start: Start) -> None:
    process = start("serve", "http://127.0.0.1:9", "--web.listen-address", "127.0.0.1:0")
    process.line(r"http://127\.0\.0\.1:\d+/metrics")
    process.process.send_signal(signal.SIGHUP)

    assert "level=warn" in process.wait_for_log("there is no configuration file to read again")
