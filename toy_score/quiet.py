"""What of Lightning's messages is not shown: information about itself, and warnings that are expected here."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["silence", "silenced"]

INFORMATION = ("pytorch.utilities.rank_zero", "fabric.utilities.rank_zero", "fabric.utilities.seed")
"""Loggers of Lightning that tell what device there is, what it restores, and what else could be bought."""

EXPECTED_WARNINGS = (
    ".*The dirpath has changed.*",  # of a resumed run, which has a folder of its own
    ".*number of training batches.*",  # a batch of Lightning's is a group of steps
    ".*does not have many workers.*",  # a loader indexes points that lie on the device
    ".*but have no `val_dataloader`.*",  # a loader of one's own has points to train on, no more
    ".*isinstance.treespec, LeafSpec.*",  # Lightning 2.6 with torch 2.13
    ".*Be aware that when using.*",  # the callbacks of fit are not those of test
)


def silence() -> None:
    """Show nothing of it from now on."""
    for name in INFORMATION:
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    for text in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=text)


@contextmanager
def silenced() -> Iterator[None]:
    """Show nothing of it for a while."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in INFORMATION]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        silence()
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
