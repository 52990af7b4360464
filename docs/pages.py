"""Pages whose Python runs while the site is built: their cells, and the pictures that stand for them elsewhere.

A page shows the picture of a cell as a file, where nothing runs it, on GitHub and in an editor:

    ```{code-cell} ipython3
    plot(Heart())
    ```

    ![The heart](../images/tutorials/heart.png)

`python -m docs.figures.tutorials` makes the file from the cell; on the site the cell shows its own.
"""

import re

__all__ = ["cells", "without_pictures"]

CELL = r"```\{code-cell\} ipython3\n(.*?)^```\n"
PICTURE = r"\n!\[[^\]]*\]\(\.\./images/tutorials/([\w.]+)\)\n"


def cells(page: str) -> list[tuple[str, str]]:
    """The code of each cell, and the name of the file with its picture, or an empty name."""
    return re.findall(f"{CELL}(?:{PICTURE})?", page, flags=re.DOTALL | re.MULTILINE)


def without_pictures(page: str) -> str:
    """The page without the pictures that its cells draw; an animation stays, a cell only writes its file."""
    still = PICTURE.replace(r"[\w.]+", r"\w+\.png")
    return re.sub(f"({CELL}){still}", r"\1", page, flags=re.DOTALL | re.MULTILINE)
