"""The entry point. What needs no model is answered before anything heavy is imported."""

import contextlib
import gc
import importlib
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from typing import NoReturn

from toy_score.memory import keep_memory
from toy_score.version import __version__

USAGE = """\
toy_score: score-based generative models on the plane, where the truth is known

  python -m toy_score fit      --config configs/ncsn_heart.yaml
  python -m toy_score fit      --init_from RUN/checkpoints/last.ckpt --data SplitNormalDataModule
  python -m toy_score predict  --ckpt_path RUN/checkpoints/last.ckpt --n_samples 20000 --output heart.npy
  python -m toy_score test     --ckpt_path RUN/checkpoints/last.ckpt
  python -m toy_score validate --ckpt_path RUN/checkpoints/last.ckpt
  python -m toy_score compare  --output DIR RUN1 RUN2.ckpt
  python -m toy_score play     RUN --output play.html
  python -m toy_score list     distributions | samplers | schedules | modules | configs | runs | ...

Commands
  fit        train a model; logs, pictures and checkpoints go to lightning_logs/NAME/version_N; --ckpt_path continues
             a run, --init_from starts a new one from the weights of a checkpoint
  predict    sample from a checkpoint into a .npy, .npz (with trajectories), .csv, .gif or .png file
  test       measure a checkpoint against the truth: a table, and metrics.json beside the run
  validate   loss and score error of a checkpoint on the validation points
  compare    models x samplers x steps against the exact denoiser: tables, figures, and a page; `compare --help`
  play       a page for the browser: fields, paths and clouds of a run, or of an exact distribution; `play --help`
  list       what there is to choose from; `list --help`
  completion the words of these commands for bash and zsh: eval "$(toy-score completion bash)"

Options
  -h, --help   this page; `fit --help` shows all options, `fit --model.help NCSNModule` the settings of a model
  --version    the version
  --import M   import the module M, whose classes a checkpoint or a list of samplers may then name as M.Class
  --threads N  threads of each process on the CPU; without it OMP_NUM_THREADS of the environment, or else 1

A checkpoint is a file, the folder of a run, or `latest`, the newest run in lightning_logs.
Any setting of a config can be given on the command line, where it wins over configs and checkpoints:
  python -m toy_score predict --ckpt_path last.ckpt --output x.npy --model.sampler Heun --model.sampler.n_steps 10
"""


COMMANDS = ("fit", "predict", "test", "validate", "compare", "play", "list", "completion")


def main(argv: list[str] | None = None) -> None:
    """Run a command line; exits with 0, with 2 for bad input, with 1 for a failure."""
    try:
        _main(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # while something is imported; commands say more themselves
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _main(given: list[str]) -> None:
    argv = _imported(_threaded(given))
    if not argv or argv[0] in ("-h", "--help", "help"):
        with _short_readers():
            print(USAGE)
    elif argv[0] == "--version":
        print(f"toy_score {__version__}")
    elif argv[0] == "list":
        with _short_readers():
            _list(argv[1:], _taken(given, "--import")[0])
    elif argv[0] == "completion":
        from toy_score.commands import completion

        completion.run(argv[1:])
    elif argv[0] == "compare":
        from toy_score.compare import command

        keep_memory()
        command.run(argv[1:], shlex.join(["python", "-m", "toy_score", *given]))
    elif argv[0] == "play":
        from toy_score.play import command as play_command

        play_command.run(argv[1:])
    elif argv[0] in COMMANDS:
        _command(argv[0], argv[1:])
    elif argv[0].startswith("-"):
        _refuse(f"there is no option {argv[0]!r} before the command; --help shows the commands")
    else:
        _refuse(f"there is no command {argv[0]!r}{_advice(argv[0], COMMANDS)}")


def _command(name: str, argv: list[str]) -> None:
    """Run `fit`, `validate`, `test` or `predict`; what can be refused or explained without torch is, at once."""
    from toy_score.commands.arguments import parse
    from toy_score.commands.errors import one_line_errors, quiet

    with one_line_errors():
        given = parse(name, argv)
        if given.help:
            from toy_score.commands.help import show

            with _short_readers():
                show(given)
            return
        quiet()
        keep_memory()
        with _uncollected():
            command = importlib.import_module(f"toy_score.commands.{name}")
        if given.print_config:
            from toy_score.commands.settings import checkpoint_settings, merged
            from toy_score.training import written_out

            start = given.options.get("ckpt_path") or given.options.get("init_from")
            print(written_out(merged(given, checkpoint_settings(start))), end="")
            sys.exit(0)
        command.run(given)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Import torch and Lightning without garbage collections, and keep collections from looking at them later.

    Their million objects live as long as the process. To look through all of them, again and again while they become
    more, and once more at the exit, takes a third of the start-up.
    """
    if "torch" in sys.modules or not gc.isenabled():  # not the start of a process, or a choice of the caller
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _short_readers() -> Iterator[None]:
    """Print to a reader that may stop early, as in `list | head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _threaded(argv: list[str]) -> list[str]:
    """Set the number of threads to that of `--threads`, of OMP_NUM_THREADS, or to 1; the other arguments.

    Networks as small as these gain little from a second thread on a quiet machine, and lose much on a busy one, where
    each layer waits for the slower thread.
    """
    numbers, others = _taken(argv, "--threads")
    for number in numbers:
        if not (number.isascii() and number.isdigit() and int(number)):
            _refuse(f"--threads must be a whole number of at least 1, got {number!r}")
    if numbers or not os.environ.get("OMP_NUM_THREADS"):
        number = numbers[-1] if numbers else "1"
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # torch reads both; so do the processes that DDP starts
            os.environ[name] = number
        if "torch" in sys.modules:  # imported already, with the numbers of before
            sys.modules["torch"].set_num_threads(int(number))
    return others


def _imported(argv: list[str]) -> list[str]:
    """Import what `--import` names; the other arguments."""
    names, others = _taken(argv, "--import")
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever the code of others may raise
            _refuse(f"cannot import {name!r}: {error}; --import takes the name of a module, of a file NAME.py")
    return others


def _taken(argv: list[str], flag: str) -> tuple[list[str], list[str]]:
    """The values of an option, `--flag value` or `--flag=value`, and the other arguments."""
    values, others, words = [], [], iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name == flag:
            values.append(value if equals else next(words, ""))
        else:
            others.append(word)
    return values, others


def _list(kinds: list[str], own: list[str]) -> None:
    from toy_score.catalog import KINDS, entries

    if {"-h", "--help"} & set(kinds):
        print(f"toy_score list: what there is to choose from\n\n  python -m toy_score list {' | '.join(KINDS)}")
        return
    for kind in kinds:
        if kind not in KINDS:
            _refuse(f"there is no list of {kind!r}{_advice(kind, KINDS)}")
    for kind in kinds or KINDS:
        print(kind)
        for entry in entries(kind, own):
            print(f"  {entry.name}\n      {entry.summary}" if entry.summary else f"  {entry.name}")


def _advice(word: str, known: Iterable[str]) -> str:
    from toy_score.words import did_you_mean

    return did_you_mean(word, known) or f"; choose from {', '.join(known)}"


def _refuse(message: str) -> NoReturn:
    from toy_score.commands.errors import refuse

    sys.exit(refuse(message))


if __name__ == "__main__":
    main()
