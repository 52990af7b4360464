"""Data modules: points to train on, and requests for samples."""

from toy_score.data.base import ToyDataModule
from toy_score.data.distribution import DistributionDataModule
from toy_score.data.known import Batch, KnownData
from toy_score.data.points import PointsDataModule
from toy_score.data.toys import (
    AnisotropicGaussiansDataModule,
    CheckerboardDataModule,
    CirclesDataModule,
    EightGaussiansDataModule,
    FortyGaussiansDataModule,
    FractalTreeDataModule,
    GaussianGridDataModule,
    GaussianMixtureDataModule,
    HeartDataModule,
    MoonsDataModule,
    NCSNMixtureDataModule,
    PinwheelDataModule,
    RingsDataModule,
    SCurveDataModule,
    SplitNormalDataModule,
    SwissRollDataModule,
    TwoMoonsInferenceDataModule,
    TwoSpiralsDataModule,
)
from toy_score.data.trainer import data_module, requests_of, typed
from toy_score.requests import SampleRequest

__all__ = [
    "AnisotropicGaussiansDataModule",
    "Batch",
    "CheckerboardDataModule",
    "CirclesDataModule",
    "DistributionDataModule",
    "EightGaussiansDataModule",
    "FortyGaussiansDataModule",
    "FractalTreeDataModule",
    "GaussianGridDataModule",
    "GaussianMixtureDataModule",
    "HeartDataModule",
    "KnownData",
    "MoonsDataModule",
    "NCSNMixtureDataModule",
    "PinwheelDataModule",
    "PointsDataModule",
    "RingsDataModule",
    "SCurveDataModule",
    "SampleRequest",
    "SplitNormalDataModule",
    "SwissRollDataModule",
    "ToyDataModule",
    "TwoMoonsInferenceDataModule",
    "TwoSpiralsDataModule",
    "data_module",
    "requests_of",
    "typed",
]
