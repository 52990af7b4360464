"""The entry point. What needs no model is answered before anything heavy is imported."""

import importlib
import os
import shlex
import sys

from toy_score.version import __version__

USAGE = """\
toy_score: score-based generative models on the plane, where the truth is known

  python -m toy_score fit      --config configs/ncsn_heart.yaml
  python -m toy_score fit      --init_from RUN/checkpoints/last.ckpt --data SplitNormalDataModule
  python -m toy_score predict  --ckpt_path RUN/checkpoints/last.ckpt --n_samples 20000 --output heart.npy
  python -m toy_score test     --ckpt_path RUN/checkpoints/last.ckpt
  python -m toy_score validate --ckpt_path RUN/checkpoints/last.ckpt
  python -m toy_score compare  --output DIR RUN1 RUN2.ckpt
  python -m toy_score list     distributions | samplers | schedules | modules | configs

Commands
  fit        train a model; logs, pictures and checkpoints go to lightning_logs/CONFIG/version_N; a run goes on from
             its checkpoint with --ckpt_path, a new one starts from the weights of a checkpoint with --init_from
  predict    sample from a checkpoint into a .npy, .npz (with trajectories), .csv or .gif file
  test       measure a checkpoint against the truth: a table, and metrics.json beside the run
  validate   loss and score error of a checkpoint on the validation points
  compare    models x samplers x steps against the exact denoiser: tables, figures, and a page; `compare --help`
  list       what there is to choose from

Options
  -h, --help   this page; `fit --help` shows every setting, `fit --model.help NCSNModule` those of a model
  --version    the version
  --import M   import the module M, whose classes a checkpoint or a list of samplers may then name as M.Class
  --threads N  threads of each process on the CPU; without it OMP_NUM_THREADS of the environment, or else 1

Any setting of a config can be given on the command line, where it wins over configs and checkpoints:
  python -m toy_score predict --ckpt_path last.ckpt --output x.npy --model.sampler Heun --model.sampler.n_steps 10
"""


COMMANDS = ("fit", "predict", "test", "validate", "compare", "list")


def main(argv: list[str] | None = None) -> None:
    """Run a command line; exits with 0, with 2 for bad input, with 1 for a failure."""
    given = sys.argv[1:] if argv is None else argv
    argv = _imported(_threaded(given))
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(USAGE)
    elif argv[0] == "--version":
        print(f"toy_score {__version__}")
    elif argv[0] == "list":
        try:
            _list(argv[1:])
            sys.stdout.flush()
        except BrokenPipeError:  # `list | head`: the reader has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif argv[0] == "compare":
        from toy_score.compare import command

        command.run(argv[1:], shlex.join(["python", "-m", "toy_score", *given]))
    elif not argv[0].startswith("-") and argv[0] not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(argv[0], COMMANDS, 1, 0.5)
        advice = f"did you mean {near[0]}?" if near else f"choose from {', '.join(COMMANDS)}"
        sys.exit(_refuse(f"there is no command {argv[0]!r}; {advice}"))
    else:
        from toy_score import cli

        cli.run(argv)


def _threaded(argv: list[str]) -> list[str]:
    """Set the number of threads to that of `--threads`, of OMP_NUM_THREADS, or to 1; the other arguments.

    Networks as small as these gain little from a second thread on a quiet machine, and lose much on a busy one, where
    each layer waits for the slower thread.
    """
    numbers, others = _taken(argv, "--threads")
    for number in numbers:
        if not (number.isascii() and number.isdigit() and int(number)):
            sys.exit(_refuse(f"--threads must be a whole number of at least 1, got {number!r}"))
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
            sys.exit(
                _refuse(f"cannot import {name!r}: {error}; --import takes the name of a module, of a file NAME.py")
            )
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


def _list(kinds: list[str]) -> None:
    from toy_score.catalog import KINDS, entries

    for kind in kinds:
        if kind not in KINDS:
            sys.exit(_refuse(f"there is no list of {kind!r}; choose from {', '.join(KINDS)}"))
    for kind in kinds or KINDS:
        print(kind)
        for entry in entries(kind):
            print(f"  {entry.name}\n      {entry.summary}" if entry.summary else f"  {entry.name}")


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
