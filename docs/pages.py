"""Pages of the site: lists of them, and what is particular to pages whose Python runs while the site is built.

Such a page shows the picture of a cell as a file, where nothing runs it, on GitHub and in an editor:

    ```{code-cell} ipython3
    plot(Heart())
    ```

    ![The heart](../images/tutorials/heart.png)

`python -m docs.figures.tutorials` makes the file from the cell; on the site the cell shows its own.
"""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urljoin

__all__ = ["cells", "in_one_piece", "llms_txt", "sitemap", "without_pictures"]

CELL = r"```\{code-cell\} ipython3\n(.*?)^```\n"
PICTURE = r"\n!\[[^\]]*\]\(\.\./images/tutorials/([\w.]+)\)\n"


def cells(page: str) -> list[tuple[str, str]]:
    """The code of each cell, and the name of the file with its picture, or an empty name."""
    return re.findall(f"{CELL}(?:{PICTURE})?", page, flags=re.DOTALL | re.MULTILINE)


def without_pictures(page: str) -> str:
    """The page without the pictures that its cells draw; an animation stays, a cell only writes its file."""
    still = PICTURE.replace(r"[\w.]+", r"\w+\.png")
    return re.sub(f"({CELL}){still}", r"\1", page, flags=re.DOTALL | re.MULTILINE)


def in_one_piece(text: str) -> str:
    """The text with numbers such as 17 282, 5 % and 30 s that no line breaks."""
    return re.sub(r"(?<=\d) (?=\d{3}\b|%|(?:ms|s|MB|GB|MiB)\b)", "\N{NO-BREAK SPACE}", text)


def llms_txt(about: str, pages: Mapping[str, str]) -> str:
    """Every page with its title, one a line (llmstxt.org).

    Args:
        about: its first line describes the project.
        pages: the title of each page, by its address in the site.
    """
    lines = ["# toy_score", "", f"> {about.splitlines()[0]}", "", "## Pages", ""]
    lines += [f"- [{title}]({address})" for address, title in pages.items()]
    return "\n".join(lines) + "\n"


def sitemap(base: str, pages: Iterable[str]) -> str:
    """The addresses of all pages in full, as sitemaps.org wants them, for a site at `base`."""
    base = base.rstrip("/") + "/"
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">']
    lines += [f"<url><loc>{urljoin(base, address)}</loc></url>" for address in pages]
    return "\n".join([*lines, "</urlset>"]) + "\n"
