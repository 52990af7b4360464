"""Data modules: points to train on, and requests for samples."""

from toy_score.data.base import Batch, SampleRequest, ToyDataModule
from toy_score.data.toys import (
    AnisotropicGaussiansDataModule,
    EightGaussiansDataModule,
    FortyGaussiansDataModule,
    GaussianGridDataModule,
    GaussianMixtureDataModule,
    HeartDataModule,
    NCSNMixtureDataModule,
    SplitNormalDataModule,
)

__all__ = [
    "AnisotropicGaussiansDataModule",
    "Batch",
    "EightGaussiansDataModule",
    "FortyGaussiansDataModule",
    "GaussianGridDataModule",
    "GaussianMixtureDataModule",
    "HeartDataModule",
    "NCSNMixtureDataModule",
    "SampleRequest",
    "SplitNormalDataModule",
    "ToyDataModule",
]
