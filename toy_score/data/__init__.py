"""Data modules: points to train on, and requests for samples."""

from toy_score.data.base import Batch, SampleRequest, ToyDataModule
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
    TwoSpiralsDataModule,
)

__all__ = [
    "AnisotropicGaussiansDataModule",
    "Batch",
    "CheckerboardDataModule",
    "CirclesDataModule",
    "EightGaussiansDataModule",
    "FortyGaussiansDataModule",
    "FractalTreeDataModule",
    "GaussianGridDataModule",
    "GaussianMixtureDataModule",
    "HeartDataModule",
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
    "TwoSpiralsDataModule",
]
