"""What is released: its version stands in one place, its wheel is whole and runs on every Python there is."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from helpers.support import PROJECT, RELEASE, project_files, scrape

from ccl_exporter import __version__
from ccl_exporter.metrics import families

CHANGES = (PROJECT / "deploy" / "CHANGELOG.md").read_text(encoding="utf-8")
PAGES = [PROJECT / "deploy" / "README.md", PROJECT / "deploy" / "kustomize" / "README.md"]
RELEASING = PROJECT / ".github" / "RELEASING.md"
ASSETS = {
    **{f"dashboards/{path.name}": path for path in (PROJECT / "dashboards").glob("*.json")},
    **{f"rules/{path.name}": path for path in (PROJECT / "deploy" / "prometheus" / "rules").glob("*.yml")},
}
"""The files that `ccl-exporter assets` copies, and where they are here."""

UV = Path(sys.executable).with_name("uv")
PYTHONS = os.environ.get("CCL_PYTHONS", sys.executable).split(os.pathsep)
"""The interpreters to install on; the long form names several, with colons between."""

LONG = "CCL_RELEASE_SUITE" in os.environ
"""Whether the tests of the package, all of them, are run on each of them, too."""


def uv(*arguments: str | Path, python: Path | None = None, folder: Path | None = None) -> str:
    environment = {**os.environ, **({"VIRTUAL_ENV": str(python.parent.parent)} if python else {})}
    done = subprocess.run(
        [UV, "--quiet", *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution of the project's files, and the wheel that is built from that."""
    folder = tmp_path_factory.mktemp("release")
    for name in project_files():
        target = folder / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, target)
    uv("build", "--out-dir", folder / "dist", folder / "src")
    (source,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return source, wheel


def installed(python: str, folder: Path, *what: str | Path) -> Path:
    """A new environment of an interpreter with something and pip in it; the interpreter of that."""
    environment = folder / "environment"
    uv("venv", "--seed", "--python", python, environment)
    found = environment / "bin" / "python"
    uv("pip", "install", *what, python=found)
    return found


def normalised(name: str) -> str:
    """The name of a distribution as an index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def serves(python: Path, folder: Path) -> bool:
    """Whether the command of an environment shows a simulated charger, without any warning of Python's."""
    process = subprocess.Popen(
        [python, "-W", "error", python.with_name("ccl-exporter"), "demo", "--web.listen-address", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    try:
        assert process.stdout is not None
        found = next(filter(None, (re.search(r"http://\S+/metrics", line) for line in process.stdout)), None)
        return found is not None and scrape(found[0]).get("ccl_up") == 1
    finally:
        process.terminate()
        process.communicate()


def test_the_version_stands_in_one_place_and_what_ships_with_it_is_of_the_same() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    compose = (PROJECT / "deploy" / "compose.yaml").read_text(encoding="utf-8")
    kustomize = (PROJECT / "deploy" / "kustomize" / "base" / "kustomization.yaml").read_text(encoding="utf-8")

    assert project["version"] == __version__
    assert re.findall(r"^## (\S+)", CHANGES, flags=re.MULTILINE)[0] == RELEASE
    assert re.findall(r"image: ccl-exporter:(\S+)", compose) == [RELEASE]
    assert re.findall(r"newTag: (\S+)", kustomize) == [RELEASE]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL))

    for name in re.findall(r"(?<=[ `])((?:deploy|tests|dashboards)/[\w./-]*\w)", text):
        assert (PROJECT / name).exists(), name
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    assert set(re.findall(r"ccl-exporter:(\d\S*)", blocks)) == {RELEASE}


def test_every_version_says_which_metrics_were_renamed_and_the_new_names_are_there() -> None:
    """As a table of old and new names."""
    names = {family.name for family in (*families.FAMILIES, *families.EXPORTER, *families.FOLLOW, *families.PLAN)}
    for version in re.split(r"^## ", CHANGES, flags=re.MULTILINE)[1:]:
        renamed = version.partition("\n### Renamed metrics\n")[2].partition("\n### ")[0]
        pairs = re.findall(r"^\| `(\w+)` \| `(\w+)` \|$", renamed, flags=re.MULTILINE)

        assert renamed.strip() == "None." or pairs, version
        assert {new for _, new in pairs} <= names
        assert names.isdisjoint(old for old, _ in pairs)


def test_the_wheel_has_the_package_whole_its_assets_its_licence_and_nothing_else(built: tuple[Path, Path]) -> None:
    _, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = f"ccl_exporter-{__version__}.dist-info"
        metadata = message_from_bytes(archive.read(f"{about}/METADATA"))
    shipped = {name for name in project_files() if name.startswith("ccl_exporter/")}

    assert {name for name in names if not name.startswith(about)} == shipped | {
        f"ccl_exporter/assets/{name}" for name in ASSETS
    }
    assert f"{about}/licenses/LICENSE" in names
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata.get_all("Provides-Extra") == ["mqtt"]


def test_an_index_shows_a_page_without_a_dead_link(built: tuple[Path, Path], tmp_path: Path) -> None:
    """With a repository among the URLs its links lead there; without one they are text."""
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    link, page = next(iter(re.findall(r"(?<!!)\[([^\[\]]+)\]\((\w+/[\w/]+\.md)\)", readme)))
    source = shutil.copytree(built[0].parents[1] / "src", tmp_path / "src")
    project = source / "pyproject.toml"
    text = re.sub(r"^\[project\.urls\]\n(?:.+\n)*", "", project.read_text(encoding="utf-8"), flags=re.MULTILINE)
    shown = {}
    for repository in (None, "https://example.com/owner/name"):
        urls = f'\n[project.urls]\nRepository = "{repository}"\n' if repository else ""
        project.write_text(text + urls)
        uv("build", "--wheel", "--out-dir", tmp_path / "dist", source)
        (wheel,) = (tmp_path / "dist").glob("*.whl")
        with zipfile.ZipFile(wheel) as archive_of_wheel:
            metadata = message_from_bytes(archive_of_wheel.read(f"ccl_exporter-{__version__}.dist-info/METADATA"))
        shown[repository] = metadata.get_payload(decode=True).decode()  # type: ignore[union-attr] # it is one part
        assert metadata["Description-Content-Type"] == "text/markdown"

    for repository, described in shown.items():
        prose = re.sub(r"^```.*?^```", "", described, flags=re.DOTALL | re.MULTILINE)
        targets = re.findall(r"\]\(([^)]*)\)", prose)
        assert [target for target in targets if not re.match(r"https?:", target)] == [], repository
        assert described.startswith("# ccl-exporter\n")
        assert described.count("```") == readme.count("```")
    assert "![" not in shown[None]
    assert f"[{link}]" not in shown[None]
    assert f"[{link}](https://example.com/owner/name/blob/HEAD/{page})" in shown["https://example.com/owner/name"]
    pictures = re.findall(r"!\[[^\]]*\]\((?!http)([^)]*)\)", readme)
    for picture in pictures:
        assert f"(https://example.com/owner/name/raw/HEAD/{picture})" in shown["https://example.com/owner/name"]


def test_the_commands_of_the_release_page_list_the_parts_and_their_checksums(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    """The list of parts has what the wheel brings in a new environment, with versions."""
    blocks = re.findall(r"```sh\n(.*?)```", RELEASING.read_text(encoding="utf-8"), flags=re.DOTALL)
    (lines,) = [block for block in blocks if "cyclonedx-py" in block]
    (tmp_path / "dist").mkdir()
    for path in built:
        shutil.copy(path, tmp_path / "dist")
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    environment = {**os.environ, "PATH": f"{UV.parent}:{os.environ['PATH']}"}
    subprocess.run(
        ["bash", "-ec", lines.replace(".venv/bin/", "")],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    parts = json.loads((tmp_path / "dist" / "sbom.json").read_text(encoding="utf-8"))
    named = {normalised(part["name"]): part["version"] for part in parts["components"]}
    installed = dict(line.split("==") for line in (tmp_path / "dist" / "frozen.txt").read_text().split())
    sums = (tmp_path / "dist" / "SHA256SUMS").read_text().splitlines()

    assert parts["bomFormat"] == "CycloneDX"
    assert parts["metadata"]["component"]["version"] == __version__
    assert {"requests", "paho-mqtt"} <= named.keys()
    assert {normalised(name): version for name, version in installed.items()}.items() <= named.items()
    assert {line.split("  ")[1] for line in sums} == {*(path.name for path in built), "sbom.json"}


def test_the_source_has_all_that_its_tests_need(built: tuple[Path, Path]) -> None:
    source, _ = built
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    for name in (
        "tests/helpers/support.py",
        "deploy/Dockerfile",
        "dashboards/kustomization.yaml",
        ".dockerignore",
        "LICENSE",
    ):
        assert name in names, name


@pytest.mark.parametrize("python", PYTHONS)
def test_the_wheel_installs_and_serves_on_a_new_python(
    python: str, built: tuple[Path, Path], tmp_path: Path
) -> None:
    """Long form, with all tests of the source: CCL_RELEASE_SUITE=1 CCL_PYTHONS=python3.11:python3.12."""
    source, wheel = built
    found = installed(python, tmp_path, f"{wheel}[mqtt]")

    assert subprocess.run(
        [found.with_name("ccl-exporter"), "--version"], capture_output=True, text=True, check=True
    ).stdout == (f"ccl-exporter {__version__}\n")
    copied = subprocess.run(
        [found.with_name("ccl-exporter"), "assets", "shipped"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert set(copied) == {f"shipped/{name}" for name in ASSETS}
    for name, path in ASSETS.items():
        assert (tmp_path / "shipped" / name).read_bytes() == path.read_bytes()
    assert serves(found, tmp_path)
    if LONG:
        with tarfile.open(source) as archive:
            archive.extractall(tmp_path, filter="data")
        (folder,) = tmp_path.glob("ccl_exporter-*")
        uv("pip", "install", "--group", PROJECT / "pyproject.toml:test", python=found)
        environment = {name: value for name, value in os.environ.items() if name != "CCL_RELEASE_SUITE"}
        suite = subprocess.run(
            [found.with_name("pytest"), "-q", "-n", "4", "tests/unit", "tests/component", "tests/system"],
            cwd=folder,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert suite.returncode == 0, suite.stdout[-20000:]


def test_the_lowest_versions_of_all_libraries_serve(built: tuple[Path, Path], tmp_path: Path) -> None:
    """Those that pyproject.toml names, of what it names. Long form, with the unit tests: CCL_RELEASE_SUITE=1."""
    _, wheel = built
    about = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    project = about["project"]
    tests = about["dependency-groups"]["test"] if LONG else []
    named = [*project["dependencies"], *project["optional-dependencies"]["mqtt"], *tests]
    found = installed(sys.executable, tmp_path, "--resolution=lowest-direct", wheel, *named)
    versions = dict(line.split("==") for line in uv("pip", "freeze", python=found).splitlines() if "==" in line)
    for requirement in project["dependencies"]:
        name, lowest = re.findall(r"^([\w-]+)>=([\d.]+)", requirement)[0]
        assert re.fullmatch(rf"{re.escape(lowest)}(\.0)*", versions[name.lower()]), requirement

    assert serves(found, tmp_path)
    if LONG:
        suite = subprocess.run(
            [found.with_name("pytest"), "-q", "tests/unit"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert suite.returncode == 0, suite.stdout[-20000:]
