"""Pictures of pages in a browser: the two of `play`, and that of `compare`.

    python -m docs.figures.screens [--runs DIR]

Needs chromium and `pip install -e '.[browser]'`. Trains NCSN on the heart (a minute) unless a run of it is in DIR
already, and writes into `docs/images/`. The page of `compare` is that which `docs.figures.compare` left in DIR, if any.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.timing import command
from docs.figures.parts import IMAGES, trained

ADDRESSES = {
    "play": "#level=2&x=-3.9&y=4.2&first=RungeKutta4&firstSteps=6",
    "play_exact": "#level=2&x=-3.9&y=4.2&first=RungeKutta4&firstSteps=10&seen=1&value=1&std=0.3",
}
STEPS = {"play": 3, "play_exact": 7}
"""Steps of the cloud before the picture is taken."""


def main() -> None:
    """Make the pages, and the pictures of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default=None)
    runs = Path(parser.parse_args().runs or tempfile.mkdtemp()).resolve()
    command(runs, "play", trained("ncsn_heart", runs), "--output", "play.html", "--overwrite")
    command(runs, "play", "--data", "EightGaussians", "--output", "play_exact.html", "--overwrite")
    compared = runs / "compared/index.html"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, address in ADDRESSES.items():
            tab = browser.new_page(viewport={"width": 1400, "height": 1150})
            tab.goto((runs / f"{name}.html").as_uri() + address)
            tab.wait_for_function("document.body.dataset.fieldTime")
            for _ in range(STEPS[name]):
                tab.click("#step")
            keep(tab, name)
        if compared.is_file():
            tab = browser.new_page(viewport={"width": 1280, "height": 1640})
            tab.goto(compared.as_uri())
            keep(tab, "compare_page")
        browser.close()


def keep(tab: Page, name: str) -> None:
    """The window as a PNG file."""
    tab.wait_for_timeout(500)
    tab.screenshot(path=IMAGES / f"{name}.png")
    print(IMAGES / f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
