"""One data module per toy distribution: which one is all there is to say.

    class MoonsDataModule(ToyDataModule, of=Moons):
        \"\"\"Points of the `Moons`.\"\"\"

The arguments of the distribution come first, in YAML, on the command line and in Python: `--data.std 0.1`; then those
of `ToyDataModule`.
"""

from toy_score.data.base import ToyDataModule
from toy_score.distributions import (
    AnisotropicGaussians,
    Checkerboard,
    Circles,
    EightGaussians,
    FortyGaussians,
    FractalTree,
    GaussianGrid,
    GaussianMixture,
    Heart,
    Moons,
    NCSNMixture,
    Pinwheel,
    Rings,
    SCurve,
    SplitNormal,
    SwissRoll,
    TwoMoonsInference,
    TwoSpirals,
)

__all__ = [
    "AnisotropicGaussiansDataModule",
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
    "RingsDataModule",
    "SCurveDataModule",
    "SplitNormalDataModule",
    "SwissRollDataModule",
    "TwoMoonsInferenceDataModule",
    "TwoSpiralsDataModule",
]


class HeartDataModule(ToyDataModule, of=Heart):
    """Points of the `Heart`."""


class SplitNormalDataModule(ToyDataModule, of=SplitNormal):
    """Points of the `SplitNormal`."""


class NCSNMixtureDataModule(ToyDataModule, of=NCSNMixture):
    """Points of the `NCSNMixture`."""


class EightGaussiansDataModule(ToyDataModule, of=EightGaussians):
    """Points of the `EightGaussians`."""


class GaussianGridDataModule(ToyDataModule, of=GaussianGrid):
    """Points of the `GaussianGrid`."""


class FortyGaussiansDataModule(ToyDataModule, of=FortyGaussians):
    """Points of the `FortyGaussians`."""


class AnisotropicGaussiansDataModule(ToyDataModule, of=AnisotropicGaussians):
    """Points of the `AnisotropicGaussians`."""


class GaussianMixtureDataModule(ToyDataModule, of=GaussianMixture):
    """Points of a `GaussianMixture` of the user's own."""


class MoonsDataModule(ToyDataModule, of=Moons):
    """Points of the `Moons`."""


class TwoMoonsInferenceDataModule(ToyDataModule, of=TwoMoonsInference):
    """Parameters and observations of `TwoMoonsInference`."""


class TwoSpiralsDataModule(ToyDataModule, of=TwoSpirals):
    """Points of the `TwoSpirals`."""


class SwissRollDataModule(ToyDataModule, of=SwissRoll):
    """Points of the `SwissRoll`."""


class SCurveDataModule(ToyDataModule, of=SCurve):
    """Points of the `SCurve`."""


class PinwheelDataModule(ToyDataModule, of=Pinwheel):
    """Points of the `Pinwheel`."""


class RingsDataModule(ToyDataModule, of=Rings):
    """Points of the `Rings`."""


class CirclesDataModule(ToyDataModule, of=Circles):
    """Points of the `Circles`."""


class CheckerboardDataModule(ToyDataModule, of=Checkerboard):
    """Points of the `Checkerboard`."""


class FractalTreeDataModule(ToyDataModule, of=FractalTree):
    """Points of the `FractalTree`."""
