"""The command `play`."""

import argparse
from typing import TYPE_CHECKING

from toy_score.commands.errors import one_line_errors, quiet
from toy_score.commands.parser import Parser
from toy_score.words import did_you_mean

if TYPE_CHECKING:
    from toy_score.distributions import Distribution

__all__ = ["parser", "run"]

DESCRIPTION = """\
Write one page to play with: the learned and the exact field at any noise level, paths of two samplers, a cloud on its
way from noise to data, points of your own. It opens in any browser and needs nothing else. Without a run it shows the
exact denoiser alone."""


def parser() -> Parser:
    """The options, without importing what they are for."""
    p = Parser("play", DESCRIPTION)
    p.add_runs("*")
    p.add_argument(
        "--data", metavar="NAME", help="without a run: the distribution to begin with, as in `list distributions`"
    )
    p.add_argument("--output", default="play.html", metavar="FILE", help="the page (default: %(default)s)")
    p.add_overwrite("replace an existing page")
    return p


def run(argv: list[str]) -> None:
    """Run the command; exits as `errors.one_line_errors` says."""
    args = parser().parse_args(argv)
    quiet()
    with one_line_errors():
        _run(args)


def _run(args: argparse.Namespace) -> None:
    from pathlib import Path

    from toy_score.compare.contestants import load_models
    from toy_score.files import locked, replacing, shown
    from toy_score.play.page import page

    if bool(args.models) == bool(args.data):
        raise ValueError("play needs either runs or --data; for example: play latest, or play --data Heart")
    output = Path(args.output)
    if output.is_dir():
        raise IsADirectoryError(f"{args.output!r} is a folder; choose a file, for example {args.output}/play.html")
    if output.exists() and not args.overwrite:
        raise FileExistsError(f"{args.output!r} exists; choose another --output or add --overwrite")
    models = load_models(args.models, "cpu") if args.models else []
    text = page(models, None if models else distribution_named(args.data)).encode()
    with locked(output), replacing(output) as file:
        file.write(text)
    print(f"page:        {shown(output)}, {len(text) / 1000:.0f} kB; open it in a browser")


def distribution_named(name: str) -> "Distribution":
    """The distribution of that name with its default arguments.

    Raises:
        ValueError: if there is none, or if it needs arguments.
    """
    import toy_score
    from toy_score.catalog import arguments, entries

    names = [entry.name.split("(")[0] for entry in entries("distributions")]
    ready = [n for n in names if all(argument.default is not None for argument in arguments(n))]
    if name in ready:
        made: Distribution = getattr(toy_score, name)()
        return made
    if name in names:
        raise ValueError(f"{name} has no default arguments; train a model on it and name the run, or draw on the page")
    raise ValueError(
        f"there is no distribution {name!r}{did_you_mean(name, ready) or f'; choose {chr(44).join(ready)}'}"
    )
