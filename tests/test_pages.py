"""Tables, links and pictures of pages are whole; cells that run show the same pictures on the site and as files."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from docs.docstrings import readable
from docs.figures import tutorials
from docs.pages import cells, in_one_piece, llms_txt, sitemap, without_pictures

DOCS = Path(__file__).parents[1] / "docs"
TEXTS = {path: path.read_text(encoding="utf-8") for folder in (DOCS.parent, DOCS) for path in folder.glob("*.md")}
TEXTS |= {path: path.read_text(encoding="utf-8") for path in DOCS.glob("*/*.md")}
TEXTS |= {
    path: "\n".join(
        "".join(c["source"]) for c in json.loads(path.read_text("utf-8"))["cells"] if c["cell_type"] == "markdown"
    )
    for path in DOCS.glob("notebooks/*.ipynb")
}
PAGES = [p for p in DOCS.glob("*/*.md") if "{code-cell}" in p.read_text(encoding="utf-8")]
PAGE = """
```{code-cell} ipython3
radius = 2
```

![Not of a cell](../images/gallery.png)

```{code-cell} ipython3
from pathlib import Path

Path("film.gif").write_bytes(b"GIF")
```

![A film](../images/tutorials/film.gif)

```{code-cell} ipython3
from toy_score import Heart, plot

plot(Heart(), sigmas=[radius])
```

![The heart](../images/tutorials/heart.png)

The end.
"""


def prose(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def uneven(text):
    """Lines of tables with more or fewer cells than the head; a bar within `code` divides cells, too."""
    tables = re.findall(r"(?:^ *\|.*\n?)+", prose(text), flags=re.MULTILINE)
    rows = [[(len(re.findall(r"(?<!\\)\|", row)), row) for row in table.splitlines()] for table in tables]
    return [row for table in rows for cells, row in table if cells != table[0][0]]


def broken(path, text):
    """Links to files that do not exist, or to headings that their file does not have."""
    found = []
    for name, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)#?([^)\s]*)\)", prose(text)):
        target = (path.parent / name).resolve() if name else path
        made_by_the_build = target.is_relative_to(DOCS / "gallery")
        headings = re.findall(r"^#+ (.*)$", prose(TEXTS.get(target, "")), flags=re.MULTILINE)
        slugs = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
        if not made_by_the_build and (not target.exists() or (anchor and anchor not in slugs)):
            found.append(f"{name}#{anchor}")
    return found


@pytest.mark.parametrize("path", TEXTS, ids=lambda p: p.stem)
def test_tables_have_all_their_cells_links_their_targets_and_pictures_a_description(path):
    assert uneven(TEXTS[path]) == []
    assert broken(path, TEXTS[path]) == []
    assert "![](" not in TEXTS[path]


def test_fractions_have_braces_since_docutils_takes_frac12_g_for_12_over_g():
    assert [line for text in TEXTS.values() for line in re.findall(r"\\frac[^{].*", text)] == []


def test_a_lost_cell_and_a_broken_link_are_found():
    assert uneven("| a | b |\n|---|---|\n| `|z|` | 3 |\n") == ["| `|z|` | 3 |"]
    assert broken(DOCS / "index.md", "[a](play.md) [b](play.md#what-it-computes) [c](#no) [d](no.md)") == [
        "#no",
        "no.md#",
    ]


def test_no_line_ends_within_a_number_or_before_its_unit():
    text = "17 282 weights, 1 000 000 points, 5 % in 30 s, seeds 1 to 12 of 20 samples"
    assert in_one_piece(text).replace("\N{NO-BREAK SPACE}", "~") == (
        "17~282 weights, 1~000~000 points, 5~% in 30~s, seeds 1 to 12 of 20 samples"
    )


def test_a_signature_on_the_site_names_classes_and_leaves_out_factories():
    signature = "(optimizer: ~torch.optim.Optimizer = <class 'torch.optim.adam.Adam'>, levels: list[float] = <factory>)"
    assert readable(signature) == "(optimizer: ~torch.optim.Optimizer = Adam, levels: list[float] = ...)"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_the_picture_of_every_cell_is_a_file_below_it(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"images/tutorials/([\w.]+)", text)
    assert [name for _, name in cells(text) if name] == named
    assert all((DOCS / "images/tutorials" / name).stat().st_size > 5000 for name in named)


def test_every_picture_of_a_tutorial_is_shown():
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert all(f"/{file.name})" in shown for file in (DOCS / "images/tutorials").iterdir())


def test_a_picture_is_what_its_cell_shows_or_writes_with_what_the_cells_above_it_defined(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = tutorials.pictures(PAGE)
    assert list(made) == ["film.gif", "heart.png"]
    assert made["film.gif"] == b"GIF"
    assert made["heart.png"].startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == []


def test_the_site_shows_the_figure_of_a_cell_once():
    page = without_pictures(PAGE)
    assert "heart.png" not in page
    assert page == PAGE.replace("\n![The heart](../images/tutorials/heart.png)\n", "")


def test_the_lists_of_pages_have_every_page():
    pages = {"index.html": "toy_score", "api/data.html": "Data"}
    assert llms_txt("A laboratory.\n\nMore.", pages).splitlines()[2:] == [
        "> A laboratory.", "", "## Pages", "", "- [toy_score](index.html)", "- [Data](api/data.html)"
    ]  # fmt: skip
    for base in ("https://example.org/docs", "https://example.org/docs/"):
        found = [loc.text for loc in ET.fromstring(sitemap(base, pages)).iter() if loc.text and "http" in loc.text]
        assert found == [f"https://example.org/docs/{page}" for page in pages]
