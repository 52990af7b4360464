"""One thread for all tests: networks this small gain nothing from more, and results do not depend on the machine.

Noise floors are kept for the time of the tests, in a folder that all processes of the run share; the user's own are
neither read nor written.
"""

import atexit
import os
import shutil
import signal
import tempfile

import pytest
import torch

torch.set_num_threads(1)
if "PYTEST_XDIST_WORKER" not in os.environ:  # a worker has the folder of the process that started it
    os.environ["TOY_SCORE_CACHE"] = tempfile.mkdtemp(prefix="toy_score_tests_")
    atexit.register(shutil.rmtree, os.environ["TOY_SCORE_CACHE"], ignore_errors=True)


if SEED := int(os.environ.get("TOY_SCORE_SEED", "0")):  # `campaign/seeds.py`: the tests with other random numbers
    own = torch.Generator, torch.manual_seed

    class Reseeded(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(seed + 1_000_003 * SEED)

    torch.Generator, torch.manual_seed = Reseeded, lambda seed: own[1](seed + 1_000_003 * SEED)


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
