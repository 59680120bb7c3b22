"""What is released: its version stands in one place, its wheel is whole and runs on every Python there is."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from helpers.support import PROJECT, RELEASE, project_files, scrape

from ccl_exporter import __version__
from ccl_exporter.metrics import families

CHANGES = (PROJECT / "deploy" / "CHANGELOG.md").read_text(encoding="utf-8")
PAGES = [PROJECT / "deploy" / "README.md", PROJECT / "deploy" / "kustomize" / "README.md"]
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
        found = re.search(r"http://\S+/metrics", process.stdout.readline())
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


def test_the_wheel_has_the_package_whole_its_licence_and_nothing_else(built: tuple[Path, Path]) -> None:
    _, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        about = f"ccl_exporter-{__version__}.dist-info"
        metadata = archive.read(f"{about}/METADATA").decode()
    shipped = {name for name in project_files() if name.startswith("ccl_exporter/")}

    assert {name for name in names if not name.startswith(about)} == shipped
    assert f"{about}/licenses/LICENSE" in names
    assert "License-Expression: Apache-2.0" in metadata
    assert "License-File: LICENSE" in metadata


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
    assert serves(found, tmp_path)
    if LONG:
        with tarfile.open(source) as archive:
            archive.extractall(tmp_path, filter="data")
        (folder,) = tmp_path.glob("ccl_exporter-*")
        uv("pip", "install", f"{wheel}[test]", python=found)
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
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *extras["mqtt"], *(extras["test"] if LONG else [])]
    named = [requirement for requirement in named if not requirement.startswith("ccl-exporter")]
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
