"""The Tab key completes commands, flags and names at once."""

import shlex
import shutil
import subprocess
import time

import pytest

from toy_score import __main__ as entry
from toy_score.commands.completion import OTHERS, script
from toy_score.compare import command as compare
from toy_score.play import command as play

BASH = shutil.which("bash")


def complete(words, folder):
    """What bash offers for the last of the words."""
    lines = [
        f"COMP_WORDS=({' '.join(map(shlex.quote, words))})",
        f"COMP_CWORD={len(words) - 1}",
        "_toy_score",
        'printf "%s\\n" "${COMPREPLY[@]}"',
    ]
    done = subprocess.run([BASH, "-c", script("bash") + "\n".join(lines)], cwd=folder, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["toy-score", "pre"], ["predict"]),
        (["toy-score", "fit", "--config", "quick/ncsn_h"], ["quick/ncsn_heart"]),
        (["toy-score", "predict", "--model.sampler", "RungeK"], ["RungeKutta4"]),
        (["toy-score", "fit", "--data", "Mo"], ["MoonsDataModule"]),
        (["toy-score", "test", "--bud"], ["--budget"]),
        (["toy-score", "fit", "--trainer.max_s"], ["--trainer.max_steps"]),
        (["toy-score", "fit", "--model.obj"], ["--model.objective"]),
        (["toy-score", "list", "sch"], ["schedules"]),
        (["toy-score", "compare", "--sam"], ["--samplers"]),
    ],
)
def test_words_are_completed(words, expected, tmp_path):
    assert complete(words, tmp_path) == expected


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_runs_and_files_are_looked_up_where_one_is(tmp_path):
    (tmp_path / "lightning_logs/mine/version_0").mkdir(parents=True)
    (tmp_path / "my.ckpt").touch()
    offered = complete(["toy-score", "test", "--ckpt_path", ""], tmp_path)
    assert {"latest", "lightning_logs/mine/version_0", "my.ckpt"} <= set(offered)


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_nothing_is_started_when_the_key_is_pressed(tmp_path):
    """With an empty PATH nothing can be: bash alone completes; it takes some milliseconds."""
    begin = time.perf_counter()
    lines = 'PATH=; COMP_WORDS=(toy-score pre); COMP_CWORD=1; _toy_score; echo "${COMPREPLY[0]}"'
    done = subprocess.run([BASH, "-c", script("bash") + lines], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("predict\n", "")
    assert time.perf_counter() - begin < 5.0  # a process of Python with torch takes as long on a busy machine


@pytest.mark.parametrize(("name", "parser"), [("compare", compare.parser()), ("play", play.parser())])
def test_the_options_of_compare_and_play_are_theirs(name, parser):
    known = {flag.removeprefix("--") for action in parser._actions for flag in action.option_strings}
    assert set(OTHERS[name]) <= known


def test_a_shell_that_is_not_known_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        entry.main(["completion", "fish"])
    assert stop.value.code == 2
    assert "completion is for bash or zsh, got fish" in capsys.readouterr().err


def test_zsh_gets_the_same_function_after_its_own_first_line():
    first, _, rest = script("zsh").partition("\n")
    assert "bashcompinit" in first
    assert rest == script("bash")
