"""The pictures of the tutorials, and of the other pages whose cells run, as files.

    python -m docs.figures.tutorials [PAGE ...]

Runs the cells of each page, as `docs/tutorials/score.md`, from first to last, and writes the picture of a cell to the
file that is named below it, in `docs/images/tutorials/`.
"""

import argparse
import ast
import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from docs.figures.parts import DOCS, IMAGES, small_png
from docs.pages import cells

FOLDER = IMAGES / "tutorials"


def main() -> None:
    """Make the pictures of all pages, or of some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path)
    mpl.use("Agg")
    FOLDER.mkdir(exist_ok=True)
    for page in parser.parse_args().pages or [*DOCS.glob("tutorials/*.md"), *DOCS.glob("how_to/*.md")]:
        for name, content in pictures(page.read_text(encoding="utf-8")).items():
            (FOLDER / name).write_bytes(content)
            print(f"{page.name}: {FOLDER / name}, {len(content) / 1e3:.0f} kB", flush=True)


def pictures(page: str) -> dict[str, bytes]:
    """The contents of the files by name: what a cell wrote under that name, or the figure that it shows."""
    found: dict[str, bytes] = {}
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for code, name in cells(page) if "images/tutorials/" in page else []:
            with contextlib.redirect_stdout(io.StringIO()):
                value = last_value(code, names)
            if name and Path(name).is_file():
                found[name] = Path(name).read_bytes()
            elif name:
                found[name] = small_png(value if isinstance(value, Figure) else plt.gcf())
    return found


def last_value(code: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, as a notebook shows it."""
    body = ast.parse(code).body
    last = ast.unparse(body.pop()) if isinstance(body[-1], ast.Expr) else "None"
    exec(ast.unparse(ast.Module(body, [])), names)
    return eval(last, names)


if __name__ == "__main__":
    main()
