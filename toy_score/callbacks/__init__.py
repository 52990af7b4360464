"""Callbacks: when to draw, average, save and write."""

from toy_score.callbacks.checkpoint import Checkpoint
from toy_score.callbacks.dashboard import Dashboard
from toy_score.callbacks.ema import EMA
from toy_score.callbacks.pictures import Pictures
from toy_score.callbacks.progress import ProgressBar
from toy_score.callbacks.reports import RunReport, TestReport, checkpoint_path, run_folder
from toy_score.callbacks.samples import SampleWriter

__all__ = [
    "EMA",
    "Checkpoint",
    "Dashboard",
    "Pictures",
    "ProgressBar",
    "RunReport",
    "SampleWriter",
    "TestReport",
    "checkpoint_path",
    "run_folder",
]
