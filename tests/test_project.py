"""What is checked on other machines is what is checked here, and the version is said once."""

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

from toy_score import __version__

ROOT = Path(__file__).resolve().parent.parent
tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def loaded(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_workflow_runs_what_is_run_here_from_the_oldest_python_on():
    job = loaded(".github/workflows/checks.yml")["jobs"]["checks"]
    assert any(".ci/run" in step.get("run", "") for step in job["steps"])
    assert f">={job['strategy']['matrix']['python'][0]}" == PROJECT["requires-python"]
    promised = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    assert promised <= set(job["strategy"]["matrix"]["python"])


def test_a_commit_is_checked_by_the_tools_of_make_lint():
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    tools = [line.split()[0].removeprefix("$(BIN)/") for line in lint.splitlines()]
    (repo,) = loaded(".pre-commit-config.yaml")["repos"]
    assert [hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in repo["hooks"]] == tools


def test_the_citation_has_the_version_and_the_license():
    citation = loaded("CITATION.cff")
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()


def test_every_released_version_has_its_date_newest_first():
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    released = headings[headings[0] == "Unreleased" :]  # what is not released yet stands first, if there is any
    dates = [re.fullmatch(r"\d+\.\d+\.\d+ - (\d{4}-\d\d-\d\d)", heading)[1] for heading in released]
    assert dates == sorted(dates, reverse=True)
    assert released[0].startswith(f"{__version__} - ")
    assert str(loaded("CITATION.cff")["date-released"]) == dates[0]


def test_the_forms_for_issues_ask_for_what_is_needed():
    for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        if path.stem != "config":
            assert {"name", "description", "body"} <= form.keys()
            assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_pip_install_brings_what_the_package_imports_and_nothing_more():
    """Pillow comes with tensorboard and tqdm with lightning, as pyproject.toml says."""
    nodes = [
        node for file in (ROOT / "toy_score").rglob("*.py") for node in ast.walk(ast.parse(file.read_text("utf-8")))
    ]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    imported = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {"toy_score"}
    other_name = {"PIL": "tensorboard", "tqdm": "lightning", "yaml": "PyYAML"}
    needed = {other_name.get(name, name) for name in imported}
    assert needed == {re.split(r"[><=~!\[ ]", requirement)[0] for requirement in PROJECT["dependencies"]}
