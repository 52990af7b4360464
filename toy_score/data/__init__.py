"""Data modules: points to train on, and requests for samples."""

from toy_score.data.base import Points, SampleRequest, ToyDataModule
from toy_score.data.toys import HeartDataModule, SplitNormalDataModule

__all__ = ["HeartDataModule", "Points", "SampleRequest", "SplitNormalDataModule", "ToyDataModule"]
