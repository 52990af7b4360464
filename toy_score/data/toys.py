"""One data module per toy distribution: which one is all there is to say.

    class MoonsDataModule(ToyDataModule, of=Moons):
        \"\"\"Points of the `Moons`.\"\"\"

The arguments of the distribution come first, in YAML, on the command line and in Python: `--data.std 0.1`; then those
of `ToyDataModule`.
"""

from toy_score.data.base import ToyDataModule
from toy_score.distributions import (
    AnisotropicGaussians,
    EightGaussians,
    FortyGaussians,
    GaussianGrid,
    GaussianMixture,
    Heart,
    NCSNMixture,
    SplitNormal,
)

__all__ = [
    "AnisotropicGaussiansDataModule",
    "EightGaussiansDataModule",
    "FortyGaussiansDataModule",
    "GaussianGridDataModule",
    "GaussianMixtureDataModule",
    "HeartDataModule",
    "NCSNMixtureDataModule",
    "SplitNormalDataModule",
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
