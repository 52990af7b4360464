"""Pages whose cells run show the same pictures on the site and as files."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from docs.figures import tutorials
from docs.pages import cells, llms_txt, sitemap, without_pictures

DOCS = Path(__file__).parents[1] / "docs"
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
