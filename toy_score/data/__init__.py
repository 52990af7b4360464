"""Data modules: points to train on, and requests for samples."""

from toy_score.data.base import Batch, SampleRequest, ToyDataModule
from toy_score.data.toys import HeartDataModule, SplitNormalDataModule

__all__ = ["Batch", "HeartDataModule", "SampleRequest", "SplitNormalDataModule", "ToyDataModule"]
