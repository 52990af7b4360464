"""Two processes that share the work of a command; they start at once, see `campaign.children`.

They are started with their numbers, as by a cluster. That Lightning starts the second one is tested in `test_threads`.
"""

import os
import socket
from functools import partial

from lightning.pytorch.utilities import rank_zero_only

from campaign.children import start

TWO = ("--trainer.devices", 2, "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu")


def in_two_processes(folder, *argv):
    """Run a command in a folder as two processes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    ranks = [start(folder, *argv, *TWO, prepare=partial(numbered, rank, port)) for rank in (0, 1)]
    ends = [rank.wait() for rank in ranks]
    assert [end.code for end in ends] == [0, 0], ends


def numbered(rank, port):
    """In a process of its own: which of the two it is, and where they meet."""
    os.environ |= {"LOCAL_RANK": str(rank), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    rank_zero_only.rank = rank  # as Lightning does when it is imported with this LOCAL_RANK
