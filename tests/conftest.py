"""One thread for all tests: networks this small gain nothing from more, and results do not depend on the machine.

Noise floors are kept for the time of the tests, in a folder that all processes of the run share; the user's own are
neither read nor written.

What takes longest in a short run, and is the same in each, is done once or not at all: see `_short_runs`.
"""

import atexit
import functools
import gc
import io
import os
import shutil
import signal
import tempfile

import pytest
import torch
from PIL import Image

from toy_score import plotting
from toy_score.callbacks import Pictures
from toy_score.distributions.base import evenly_spread
from toy_score.evaluation import doctor, prior

torch.set_num_threads(1)
gc.disable()  # until all tests are imported


def pytest_collection_finish():
    """What was imported stays as long as the process: garbage collections need not look through it again and again.

    They need not come as often either, where a process ends within minutes.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker has the folder of the process that started it
    os.environ["TOY_SCORE_CACHE"] = tempfile.mkdtemp(prefix="toy_score_tests_")
    atexit.register(shutil.rmtree, os.environ["TOY_SCORE_CACHE"], ignore_errors=True)


if SEED := int(os.environ.get("TOY_SCORE_SEED", "0")):  # `campaign/seeds.py`: the tests with other random numbers
    own = torch.Generator, torch.manual_seed

    class Reseeded(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(seed + 1_000_003 * SEED)

    torch.Generator, torch.manual_seed = Reseeded, lambda seed: own[1](seed + 1_000_003 * SEED)


LOOK_AT_PICTURES = {
    "test_animation",
    "test_budget",
    "test_names",
    "test_observed_models",
    "test_pictures",
}


@functools.cache
def blank():
    """The contents of a PNG file of one pixel."""
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "PNG")
    return file.getvalue()


draw = Pictures._draw


@functools.wraps(draw)
def drawn_after_steps(pictures, trainer, *what):
    """Draw as usual, but not before the first step."""
    if trainer.global_step > 0:
        draw(pictures, trainer, *what)


@pytest.fixture(scope="module", autouse=True)
def _short_runs(request):
    """Figures are made at the end of a training, but drawn only in the modules that look at pictures, and there before
    its first step too; outside of its own tests the doctor takes a sixteenth of its points, and measures each prior
    once.

    Each of the hundred trainings of two steps would draw eight pictures, and let the exact flow walk 16 384 points.
    """
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__ not in LOOK_AT_PICTURES:
            patch.setattr(plotting, "to_png", lambda figure: blank())
            patch.setattr(Pictures, "_draw", drawn_after_steps)
        if request.module.__name__ != "test_doctor":
            patch.setattr(prior, "prior_share", functools.cache(prior.prior_share))
            patch.setattr(doctor, "smoothed", functools.partial(doctor.smoothed, n=16))
            patch.setattr(prior, "evenly_spread", lambda n, *what: evenly_spread(n // 16, *what))
            patch.setattr(prior, "N", prior.N // 16)
        yield


@pytest.fixture
def nothing_kept(monkeypatch):
    """Noise floors are measured, and not kept."""
    monkeypatch.setenv("TOY_SCORE_CACHE", "off")


@pytest.fixture
def foreground_signals():
    """SIGINT and SIGHUP act as in the foreground of a terminal: a background job ignores the one, nohup the other."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
