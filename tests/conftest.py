"""One thread for all tests: networks this small gain nothing from more, and results do not depend on the machine."""

import signal

import pytest
import torch

torch.set_num_threads(1)


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
