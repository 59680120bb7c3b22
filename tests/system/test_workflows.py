"""The files in `.github/` that others carry out: workflows, updates, forms; and the hooks before a commit."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.support import PROJECT

GITHUB = PROJECT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
SCHEMAS = {
    **dict.fromkeys(WORKFLOWS, "github-workflows"),
    **dict.fromkeys(FORMS, "github-issue-forms"),
    GITHUB / "ISSUE_TEMPLATE" / "config.yml": "github-issue-config",
    GITHUB / "dependabot.yml": "dependabot",
}
TOOLS = Path(sys.executable).parent


def ran(tool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOOLS / tool, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("path", "schema"), SCHEMAS.items(), ids=lambda value: getattr(value, "name", value))
def test_a_file_follows_its_schema(path: Path, schema: str) -> None:
    checked = ran("check-jsonschema", "--builtin-schema", f"vendor.{schema}", path)

    assert checked.returncode == 0, checked.stdout


def test_zizmor_finds_no_weakness_in_the_workflows() -> None:
    judged = ran("zizmor", "--offline", "--no-progress", GITHUB)

    assert judged.returncode == 0, judged.stdout + judged.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_a_commit_with_its_version_beside(path: Path) -> None:
    used = re.findall(r"uses: *(.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


def test_the_public_ci_runs_the_one_script_on_every_supported_python_and_only_there_without_recordings() -> None:
    (job,) = loaded(GITHUB / "workflows" / "ci.yml")["jobs"].values()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    supported = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))

    assert job["strategy"]["matrix"]["python"] == supported
    assert job["container"]["image"].startswith("python:${{ matrix.python }}-")
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert job["env"] == {"CCL_RECORDINGS": "absent"}
    assert "absent" not in (PROJECT / ".ci" / "run").read_text(encoding="utf-8")


def test_a_release_runs_the_commands_of_its_page() -> None:
    """So what a test has tried is what makes the list of parts and the checksums."""
    page = (GITHUB / "RELEASING.md").read_text(encoding="utf-8")
    (lines,) = [
        block for block in re.findall(r"```sh\n(.*?)```", page, flags=re.DOTALL) if "cyclonedx-py" in block
    ]
    jobs = loaded(GITHUB / "workflows" / "release.yml")["jobs"]

    assert lines in [step.get("run") for step in jobs["build"]["steps"]]
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["image"]["env"] == {"IMAGE": "${{ vars.IMAGE }}"}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_asks_for_the_output_of_check_and_a_folder_of_dump(path: Path) -> None:
    fields = {field["id"]: field["attributes"] for field in loaded(path)["body"] if "id" in field}

    for name in ("check", "dump"):
        assert f"`ccl-exporter {name} " in fields[name]["description"]


def test_the_hooks_before_a_commit_are_valid_and_name_tools_of_the_environment() -> None:
    assert ran("pre-commit", "validate-config").returncode == 0
    for hook in loaded(PROJECT / ".pre-commit-config.yaml")["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert (TOOLS / hook["entry"].split()[0]).exists() or hook["id"] in {"ruff-check", "ruff-format", "mypy"}
