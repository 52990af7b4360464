"""Pictures of pages in a browser: the two of `play`, that of `compare`, and the dashboard of TensorBoard.

    python -m docs.figures.screens [--runs DIR] [play] [play_exact] [compare_page] [dashboard]

Needs chromium and `pip install -e '.[browser]'`. Trains NCSN and EDM on the heart (a minute each) unless runs of them
are in DIR already, and writes into `docs/images/`. The page of `compare` is one that `docs.figures.compare` left in
DIR.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.timing import command
from docs.figures.parts import IMAGES, trained


def main() -> None:
    """Make all pictures, or some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default=None)
    parser.add_argument("names", nargs="*", choices=[[], *PICTURES])
    arguments = parser.parse_args()
    runs = Path(arguments.runs or tempfile.mkdtemp()).resolve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in arguments.names or PICTURES:
            page = PICTURES[name](browser, runs)
            page.wait_for_timeout(500)
            page.screenshot(path=IMAGES / f"{name}.png")
            print(IMAGES / f"{name}.png", flush=True)
        browser.close()


def play(browser: Browser, runs: Path) -> Page:
    """A network beside the truth: two paths, and a cloud after three steps."""
    command(runs, "play", trained("ncsn_heart", runs), "--output", "play.html", "--overwrite")
    return played(browser, runs / "play.html", "#level=2&x=-3.9&y=4.2&first=RungeKutta4&firstSteps=6", steps=3)


def play_exact(browser: Browser, runs: Path) -> Page:
    """The truth alone, with an observation."""
    command(runs, "play", "--data", "EightGaussians", "--output", "play_exact.html", "--overwrite")
    state = "#level=2&x=-3.9&y=4.2&first=RungeKutta4&firstSteps=10&seen=1&value=1&std=0.3"
    return played(browser, runs / "play_exact.html", state, steps=7)


def played(browser: Browser, file: Path, state: str, steps: int) -> Page:
    """A page of `play` in a state, its cloud after some steps."""
    page = browser.new_page(viewport={"width": 1400, "height": 1150})
    page.goto(file.as_uri() + state)
    page.wait_for_function("document.body.dataset.fieldTime")
    for _ in range(steps):
        page.click("#step")
    return page


def compare_page(browser: Browser, runs: Path) -> Page:
    """The first part of the page of `compare`."""
    page = browser.new_page(viewport={"width": 1280, "height": 1640})
    page.goto((runs / "compared/index.html").as_uri())
    return page


def dashboard(browser: Browser, runs: Path) -> Page:
    """The pictures of two runs in TensorBoard."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    with tempfile.TemporaryDirectory() as logs, served(logs) as address:
        for config in ("edm_heart", "ncsn_heart"):
            shutil.copytree(trained(config, runs).parents[1], Path(logs) / config / "version_0")
        page.goto(f"{address}/#timeseries", timeout=240_000)
        page.wait_for_selector("image-card img", timeout=240_000)
        page.wait_for_timeout(20_000)  # until all images are there
    return page


@contextmanager
def served(logs: str) -> Iterator[str]:
    """TensorBoard over a folder, at an address of this machine."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "tensorboard.main", "--logdir", logs, "--port", str(port), "--reload_interval", "5"]
    server = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    try:
        for line in server.stderr:
            if "http://" in line:
                break
        yield f"http://localhost:{port}"
    finally:
        server.kill()


PICTURES = {"play": play, "play_exact": play_exact, "compare_page": compare_page, "dashboard": dashboard}


if __name__ == "__main__":
    main()
