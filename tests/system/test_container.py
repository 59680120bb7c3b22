"""The container and the compose files, as far as they can be tried without a container engine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.support import PROJECT, RELEASE, project_files, scrape

DEPLOY = PROJECT / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
COMPOSE = [DEPLOY / "compose.yaml", DEPLOY / "compose.demo.yaml"]
TOOLS = Path(sys.executable).parent


def instructions(name: str) -> list[str]:
    """The arguments of an instruction wherever it stands in the Dockerfile, its lines joined."""
    joined = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", "")
    return re.findall(rf"^\s*{name} +(.*)$", joined, flags=re.MULTILINE)


def context() -> set[str]:
    """What a build is given of the project: its files, less those of .dockerignore."""
    listed = project_files()
    ignored: set[str] = set()
    for rule in (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = rule.removeprefix("!").removeprefix("**/")
        found = {
            name
            for name in listed
            if any(fnmatch("/".join(name.split("/")[:end]), pattern) for end in range(1, name.count("/") + 2))
        }
        ignored = ignored - found if rule.startswith("!") else ignored | found
    return set(listed) - ignored


def compose(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def test_hadolint_finds_nothing_to_complain_of() -> None:
    judged = subprocess.run(
        [str(TOOLS / "hadolint"), str(DOCKERFILE)], capture_output=True, text=True, check=False
    )

    assert (judged.returncode, judged.stdout) == (0, "")


def test_the_container_has_no_privileges_and_its_images_are_pinned() -> None:
    assert instructions("USER") == ["65532:65532"]
    assert all(re.search(r":\d+\.\d+\.\d+-", image) for image in instructions("FROM"))
    assert instructions("RUN")[1] == f"install -d -m 700 -o 65532 -g 65532 {instructions('VOLUME')[0]}"


def test_what_the_image_is_built_from_builds_answers_and_is_healthy(tmp_path: Path) -> None:
    """The steps of the Dockerfile, with a folder instead of the root and this Python instead of the image's."""
    source, root = tmp_path / "src", tmp_path / "root"
    given = context()
    first_stage = DOCKERFILE.read_text(encoding="utf-8").split("\nFROM ")[1]
    for line in re.findall(r"^COPY (.*) \S+$", first_stage, flags=re.MULTILINE):
        for name in line.split():
            copied = [file for file in given if file == name or file.startswith(f"{name}/")]
            assert copied, name
            for file in copied:
                (source / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / file, source / file)
    build, _ = instructions("RUN")
    step = re.sub(r"(?<![\w.])/opt\b", f"{root}/opt", build)
    step = re.sub(r"(?<!-)\bpython\b", sys.executable, step)
    (root / "opt").mkdir(parents=True)
    subprocess.run(["sh", "-c", step.replace("--no-cache-dir", "")], cwd=source, check=True, capture_output=True)

    (path,) = [line for line in instructions("ENV") if line.startswith("PATH=")]
    environment = {
        **dict(word.split("=", 1) for word in shlex.split(path)),
        "PATH": f"{root}/opt/ccl-exporter/bin:{os.environ['PATH']}",
        "STATE_DIRECTORY": str(root / "state"),
        "CCL_CHARGER": "http://127.0.0.1:1",
    }
    (entry,), command = json.loads(instructions("ENTRYPOINT")[0]), json.loads(instructions("CMD")[-1])
    command = [":0" if word == ":9986" else word for word in command]
    process = subprocess.Popen(
        [str(root / "opt/ccl-exporter/bin" / entry), *command],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        served = (re.search(r"http://[0-9.]+:(\d+)/metrics", line) for line in process.stdout)
        found = next(filter(None, served), None)
        assert found
        assert scrape(f"http://127.0.0.1:{found[1]}/metrics").get("ccl_up") == 0
        check = json.loads(instructions("HEALTHCHECK")[0].partition("CMD ")[2])
        check = [word.replace("9986", found[1]) for word in check]
        healthy = subprocess.run(check, env=environment, capture_output=True, check=False).returncode
    finally:
        process.terminate()
        stopped = process.wait(timeout=60)
        process.communicate()
    gone = subprocess.run(check, env=environment, capture_output=True, check=False).returncode

    assert (healthy, gone, stopped) == (0, 1, 0)


def test_every_library_has_a_wheel_for_arm64(tmp_path: Path) -> None:
    """So that the image is built without a compiler; for amd64 the test above installs them."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (version,) = {match[1] for image in instructions("FROM") if (match := re.search(r":(\d+\.\d+)\.", image))}
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"),
            *("--target", str(tmp_path), "--only-binary=:all:", "--python-version", version),
            *("--platform", "manylinux2014_aarch64", "--platform", "manylinux_2_28_aarch64"),
            *project["dependencies"],
            *project["optional-dependencies"]["mqtt"],
        ],
        check=True,
        capture_output=True,
    )


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_a_compose_file_is_one_by_the_schema_of_the_specification(path: Path) -> None:
    checked = subprocess.run(
        [str(TOOLS / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("path", COMPOSE, ids=lambda path: path.name)
def test_what_a_compose_file_mounts_and_builds_is_there(path: Path) -> None:
    for service in compose(path)["services"].values():
        if "build" in service:
            folder = path.parent / service["build"]["context"]
            assert (folder / service["build"]["dockerfile"]).samefile(DOCKERFILE)
        for volume in service.get("volumes", []):
            source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
            if source.startswith("."):
                assert (path.parent / source).exists(), volume
            else:
                assert source in compose(path)["volumes"], volume


def test_every_container_is_pinned_hardened_and_in_the_one_network() -> None:
    for path in COMPOSE:
        for name, service in compose(path)["services"].items():
            if "image" not in service:
                continue  # laid over that of the other file
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
            if service["image"].startswith("ccl-exporter:"):
                assert service["image"] == f"ccl-exporter:{RELEASE}"
            assert service["cap_drop"] == ["ALL"], name
            assert service["read_only"] is True, name
            if name != "network":
                assert service["network_mode"] == "service:network", name
                assert "ports" not in service, name


def test_only_grafana_listens_to_others() -> None:
    """What listens on an address of its own is Grafana, whose port is open on this machine alone by default."""
    services = compose(COMPOSE[0])["services"]

    assert services["network"]["ports"] == ["${GRAFANA_LISTEN:-127.0.0.1:3000}:3000"]
    for name in ("ccl-exporter", "prometheus", "alertmanager"):
        assert any("listen-address" in word or word.startswith("127.0.0.1:") for word in services[name]["command"])
        assert not any("0.0.0.0" in word for word in services[name]["command"])  # noqa: S104 - looked for
    assert services["influxdb"]["environment"]["INFLUXDB_HTTP_BIND_ADDRESS"].startswith("127.0.0.1:")


def test_the_demo_reads_the_chargers_that_it_simulates() -> None:
    services = compose(COMPOSE[1])["services"]
    command = services["simulator"]["command"]
    count, first = int(command[command.index("--chargers") + 1]), int(command[-1].split(":")[1])
    chargers = compose(DEPLOY / "demo.yaml")["chargers"]

    assert [charger["url"] for charger in chargers.values()] == [
        f"http://127.0.0.1:{port}" for port in range(first, first + count)
    ]
