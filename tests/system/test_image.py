"""The image of the Dockerfile on a stand-in for its base, built and run by podman with the lines of the page."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import yaml
from helpers.podman import Podman
from helpers.support import COMMAND, PROJECT, server

DOCKERFILE = (PROJECT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
CHAPTER = (PROJECT / "deploy" / "README.md").read_text(encoding="utf-8").partition("\n## A container\n")[2]
BLOCKS = [block.replace("\\\n", "") for block in re.findall(r"```sh\n(.*?)```", CHAPTER, flags=re.DOTALL)]
BUILD, RUN = BLOCKS[0].splitlines()
(BASE,) = {f"docker.io/library/{name}" for name in re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)}
TOOLS = Path(sys.executable).parent
CHARGER = "192.0.2.10"
"""The charger of the page and of `deploy/ccl.yaml`: an address of the loopback interface here."""


def awaited(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true within two minutes."""
    until = monotonic() + 120
    while not (held := condition()) and monotonic() < until:
        sleep(0.2)
    return held


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Podman]:
    """With the image of the page, and a simulated charger whose time is fast."""
    with Podman(tmp_path_factory.mktemp("podman"), addresses=[CHARGER]) as podman:
        podman.import_base(BASE)
        podman.build(*shlex.split(BUILD)[2:])
        simulate = podman.within(
            *(str(COMMAND), "simulate", "--speed", "5", "--web.listen-address", f"{CHARGER}:80")
        )
        with subprocess.Popen(simulate, stdout=subprocess.PIPE, env=podman.environment) as simulator:
            assert simulator.stdout is not None
            assert simulator.stdout.readline()
            yield podman
            simulator.terminate()


@pytest.fixture
def container(podman: Podman) -> Iterator[str]:
    """The name of the container of the page, running and healthy."""
    name = re.findall(r"--name (\S+)", RUN)[0]
    podman.shell(RUN)
    assert awaited(lambda: healthy(podman, name))
    yield name
    podman("rm", "--force", "--time", "1", name)


def healthy(podman: Podman, name: str) -> bool:
    return podman.run("podman", "healthcheck", "run", name, check=False).returncode == 0


def state(podman: Podman, name: str, field: str) -> str:
    return podman("inspect", "--format", f"{{{{.{field}}}}}", name).strip()


def test_the_container_has_a_read_only_root_and_no_capabilities(podman: Podman, container: str) -> None:
    status = podman("exec", container, "cat", "/proc/1/status")
    written = podman.run("podman", "exec", container, "touch", "/opt/ccl-exporter/new", check=False)

    assert set(re.findall(r"^Cap\w+:\s+(\w+)$", status, flags=re.MULTILINE)) == {"0" * 16}
    assert re.findall(r"^Uid:\s+(\d+)", status, flags=re.MULTILINE) == ["65532"]
    assert "Read-only file system" in written.stderr
    assert "\nccl_up 1.0\n" in podman.http("http://127.0.0.1:9986/metrics")


def test_a_container_that_hangs_becomes_unhealthy_and_one_that_goes_on_healthy(
    podman: Podman, container: str
) -> None:
    podman("kill", "--signal", "STOP", container)
    hung = [healthy(podman, container) for _ in range(3)]  # as many as make it unhealthy by default
    judged = state(podman, container, "State.Health.Status")
    podman("kill", "--signal", "CONT", container)

    assert (hung, judged) == ([False] * 3, "unhealthy")
    assert awaited(lambda: healthy(podman, container))
    assert state(podman, container, "State.Health.Status") == "healthy"


def test_a_container_that_is_killed_is_started_again(podman: Podman, container: str) -> None:
    os.kill(int(state(podman, container, "State.Pid")), signal.SIGKILL)

    assert awaited(lambda: state(podman, container, "RestartCount") == "1" and healthy(podman, container))


def test_commands_in_the_container_share_the_records_which_outlive_it(podman: Podman, container: str) -> None:
    """The lines of the page, which stops within five seconds: after them it would be killed, and end with 137."""
    log, start, stop = BLOCKS[1].splitlines()

    def succeeds(line: str) -> bool:
        podman.http("http://127.0.0.1:9986/metrics")  # the service reads, and records, when it is asked
        return podman.run("bash", "-c", line.replace("docker ", "podman "), check=False).returncode == 0

    assert awaited(lambda: succeeds(start.replace("start --now", "stop")))  # once there is a vehicle
    assert awaited(lambda: succeeds(log) and podman.shell(log).startswith("BEGIN "))
    assert awaited(lambda: succeeds(start))
    first = podman.shell(log).splitlines()[:2]
    podman.shell(stop)
    assert state(podman, container, "State.ExitCode") == "0"
    podman("rm", container)
    podman.shell(RUN)

    assert podman.shell(log).splitlines()[:2] == first
    assert (
        podman.run("podman", "exec", container, "test", "-s", "/var/lib/ccl-exporter/writes.log").returncode == 0
    )


def test_several_chargers_are_read_from_a_folder_that_is_mounted(podman: Podman, tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    shutil.copy(PROJECT / "deploy" / "ccl.yaml", tmp_path / "deploy")
    podman.shell(BLOCKS[2], folder=tmp_path)
    try:
        assert awaited(lambda: healthy(podman, "ccl-exporter"))
        assert "\nccl_up 1.0\n" in podman.http("http://127.0.0.1:9986/probe?target=garage")
    finally:
        podman("rm", "--force", "--time", "1", "ccl-exporter")


# The stand-ins for images of compose.yaml: a program of Debian, who runs it, and where it may write.
STAND_INS = {
    "prometheus": ("prometheus", "nobody", "/prometheus"),
    "alertmanager": ("prometheus-alertmanager", "nobody", "/alertmanager"),
    "influxdb": ("influxd", "influxdb", "/var/lib/influxdb"),
}
TEMPLATES = "/usr/share/prometheus/alertmanager"
"""Debian's Alertmanager wants two files in this folder; the pinned one has its own within."""


def stand_in(service: str) -> str:
    """The recipe of the image that stands in for that of a service."""
    program, user, folder = STAND_INS[service]
    lines = [
        f"RUN id {user} || useradd {user}",
        f"RUN install -d -o {user} {folder}",
        f"RUN mkdir -p {TEMPLATES} && touch {TEMPLATES}/default.tmpl {TEMPLATES}/email.tmpl",
        f"ENV INFLUXDB_DATA_DIR={folder}/data INFLUXDB_DATA_WAL_DIR={folder}/wal INFLUXDB_META_DIR={folder}/meta",
        f"VOLUME {folder}",
        f"USER {user}",
        f'ENTRYPOINT ["/bin/{program}"]',
    ]
    return "\n".join(lines)


@pytest.fixture
def demo(podman: Podman) -> Iterator[Callable[..., str]]:
    """The demo of the compose files but for Grafana, started; runs further commands of compose."""
    services = yaml.safe_load((PROJECT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for service, (program, _, _) in STAND_INS.items():
        podman.import_program(services[service]["image"], BASE, server(program), stand_in(service))
    files = ["-f", "deploy/compose.yaml", "-f", "deploy/compose.demo.yaml"]

    def compose(*arguments: str) -> str:
        # The namespaces have no other network; the page names this one for a charger that does not answer.
        return podman.run(
            "env", "CCL_NETWORK=host", str(TOOLS / "podman-compose"), "-p", "ccl-demo", *files, *arguments
        ).stdout

    try:
        compose("up", "--detach", "network", "simulator", "ccl-exporter", *STAND_INS)
        yield compose
    finally:
        compose("down", "--timeout", "5")


def test_the_demo_of_the_compose_files_has_its_chargers_in_prometheus_and_influxdb(
    podman: Podman, demo: Callable[..., str]
) -> None:
    """Commands, mounts and addresses; the pinned images were not run."""

    def answer(url: str) -> Any:
        try:
            return json.loads(podman.http(url))
        except AssertionError:
            return {}  # not up yet

    database = podman("exec", "ccl-demo_influxdb_1", "printenv", "INFLUXDB_DB").strip()
    created = f"http://127.0.0.1:8086/query?q=CREATE%20DATABASE%20{database}"
    assert awaited(lambda: bool(answer(created)))  # the entry point of the pinned image does it
    prometheus = "http://127.0.0.1:9090/api/v1"
    assert awaited(
        lambda: (
            {
                series["metric"]["instance"]
                for series in answer(f"{prometheus}/query?query=ccl_up==1").get("data", {}).get("result", [])
            }
            == {"north-1", "north-2", "south-1", "south-2"}
        )
    )
    stored = f"http://127.0.0.1:8086/query?db={database}&q=SHOW%20MEASUREMENTS"
    assert awaited(lambda: "series" in (answer(stored).get("results") or [{}])[0])
    assert len(answer(f"{prometheus}/rules")["data"]["groups"]) > 1
    assert [
        manager["url"] for manager in answer(f"{prometheus}/alertmanagers")["data"]["activeAlertmanagers"]
    ] == ["http://127.0.0.1:9093/api/v2/alerts"]
    assert awaited(lambda: "config" in answer("http://127.0.0.1:9093/api/v2/status"))

    demo("kill", "--signal", "HUP", "ccl-exporter")
    logged = ["podman", "logs", "ccl-demo_ccl-exporter_1"]
    assert awaited(lambda: "the configuration was read again" in podman.run(*logged).stderr)
    demo("down", "--timeout", "5")
    kept = podman("volume", "ls", "--quiet").split()
    assert {f"ccl-demo_{name}" for name in ("exporter", *STAND_INS)} <= set(kept)
