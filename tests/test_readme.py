"""What the README and the pages in docs/ tell a user to type exists: commands, options, files and imports."""

import ast
import fnmatch
import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import pytest

import toy_score
from toy_score.catalog import KINDS, config_file
from toy_score.commands import arguments
from toy_score.commands.arguments import parse as read
from toy_score.commands.complete import complete
from toy_score.commands.fit import run_name
from toy_score.commands.settings import merged
from toy_score.compare import command as compare
from toy_score.data import ToyDataModule
from toy_score.modules import ScoreModule
from toy_score.play import command as play

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
HOW_TO = [
    page for page in sorted((ROOT / "docs/how_to").glob("*.md")) if page.stem != "resume"
]  # it reads a run's config
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *HOW_TO]
OWN_CLASSES = re.compile(r"\b(mine|cross)\b")  # modules that a page has the user write

spec = importlib.util.spec_from_file_location("paste_readme", ROOT / "docs/paste_readme.py")
paste_readme = importlib.util.module_from_spec(spec)
spec.loader.exec_module(paste_readme)


def commands(text):
    """The arguments of each command of toy_score in a page, with the variables of the shell replaced."""
    variables, found = {"lr": "0.01"}, []
    for line in text.replace("\\\n", " ").splitlines():
        if assignment := re.fullmatch(r"([A-Z]+)=(\S+)", line):
            variables[assignment[1]] = assignment[2]
        if match := re.match(r"(?!\|).*-m toy_score (.*)", line):
            if "`" in line:  # within a sentence
                continue
            words = shlex.split(match[1].removesuffix("&"), comments=True)
            found.append([re.sub(r"\$(\w+)", lambda name: variables[name[1]], word) for word in words])
    return found


@pytest.fixture(scope="module")
def parse():
    """Parses a command, with a checkpoint of NCSN wherever one is named."""
    stored = {
        "model": complete("NCSNModule", ScoreModule, None, "model"),
        "data": complete("HeartDataModule", ToyDataModule, None, "data"),
    }

    def parsed(argv):
        if argv[0] == "compare":
            compare.parser().parse_args(argv[1:])
        elif argv[0] == "play":
            play.parser().parse_args(argv[1:])
        elif argv[0] == "list":
            assert set(argv[1:]) <= set(KINDS)
        else:
            given = read(argv[0], argv[1:])
            merged(given, stored if "--ckpt_path" in argv or "--init_from" in argv else {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arguments, "checkpoint_file", lambda word: word)
        yield parsed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_parses(page, parse):
    for argv in commands(page.read_text(encoding="utf-8")):
        if not OWN_CLASSES.search(" ".join(argv)):
            try:
                parse(argv)
            except (SystemExit, ValueError, OSError):
                pytest.fail(f"{page.name}: {shlex.join(argv)}")


@pytest.mark.parametrize(
    "argv",
    [
        ["fit", "--config", "ncsn_heart", "--trainer.max_step", "3"],
        ["predict", "--ckpt_path", "last.ckpt", "--model.sampler", "Hein"],
        ["compare", "last.ckpt", "--out", "y"],
    ],
)
def test_a_command_that_does_not_parse_is_found(argv, parse):
    with pytest.raises((SystemExit, ValueError)):
        parse(argv)


def missing_files(text):
    """The files that commands read although nothing has made them before."""
    made, missing = set(), []
    for argv in commands(text):
        values = dict(zip(argv, [*argv[1:], ""], strict=True))
        named = [values[flag] for flag in ("--ckpt_path", "--data.path") if flag in values]
        if argv[0] in ("compare", "play"):
            named += [word for word in argv[1:] if "/" in word]
        missing += [name for name in named if not fnmatch.filter(made, name)]
        if argv[0] == "fit":
            if config_file(values["--config"]) is None:
                missing.append(values["--config"])
            run = f"lightning_logs/{run_name(values['--config'])}"
            run += f"/version_{sum(name.startswith(run + '/') and name.endswith('.ckpt') for name in made)}"
            made |= {run, f"{run}/checkpoints/last.ckpt"}
        made.add(values.get("--output"))
        made.discard(None)
    return missing


def test_the_readme_names_only_files_that_exist_at_that_moment(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert len(commands(README)) >= 10
    assert missing_files(README) == []


def test_a_file_that_nothing_has_made_is_found(monkeypatch):
    monkeypatch.chdir(ROOT)
    fit = "python -m toy_score fit --config configs/ncsn_heart.yaml\n"
    run = "lightning_logs/ncsn_heart/version_"
    test = f"python -m toy_score test --ckpt_path {run}0/checkpoints/last.ckpt\n"
    assert missing_files(fit + test) == []
    assert missing_files(test + fit) == [f"{run}0/checkpoints/last.ckpt"]
    assert missing_files(fit + test.replace("version_0", "version_1")) == [f"{run}1/checkpoints/last.ckpt"]
    assert missing_files(f"{fit}python -m toy_score fit --config x --data.path my.csv") == ["my.csv", "x"]


def test_the_environment_is_activated_before_the_first_command_that_needs_it():
    assert 0 < README.index("source .venv/bin/activate") < README.index("python -m toy_score")
    demo = subprocess.run(["make", "-n", "demo"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert demo.index("source .venv/bin/activate") < demo.index("tensorboard --logdir lightning_logs")


def test_the_python_of_the_readme_compiles_and_its_names_exist():
    (code,) = (block for language, block in paste_readme.blocks(README) if language == "python")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            assert node.module == "toy_score"
            assert all(hasattr(toy_score, alias.name) for alias in node.names)
    (path,) = re.findall(r"load_from_checkpoint\(\"(.*)\"\)", code)
    fitted = next(argv for argv in commands(README) if argv[0] == "fit")
    assert path == f"lightning_logs/{run_name(fitted[2])}/version_0/checkpoints/last.ckpt"


def test_no_page_installs_the_package_from_a_registry():
    sources = [
        *PAGES,
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("toy_score/**/*.py"),
        *ROOT.glob("benchmarks/*.py"),
        *ROOT.glob("examples/*.py"),
    ]
    for source in sources:
        assert not re.search(r"pip install\W+toy[-_]score", source.read_text(encoding="utf-8")), source


def test_pasting_stops_at_the_first_command_that_fails_and_names_it(tmp_path):
    text = "```bash\nWHERE=x\necho $WHERE > made\nfalse  # fails\necho not reached > late\n```\n"
    done = subprocess.run(["bash", "-c", paste_readme.script(text, True)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "README.md fails at: false\n"
    assert (tmp_path / "made").read_text() == "x\n"
    assert not (tmp_path / "late").exists()


def test_every_command_of_the_readme_is_pasted():
    pasted = "".join(block for language, block in paste_readme.blocks(README) if language == "bash")
    assert commands(pasted) == commands(README)


def test_make_help_lists_every_target_with_a_line():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    printed = subprocess.run(["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = dict(line.removeprefix("make ").split(maxsplit=1) for line in printed.splitlines())
    assert list(lines) == targets
