"""A flow map in closed form, right or wrong by a known amount."""

import torch
from torch import nn

from toy_score import EDM, GaussianMixture
from toy_score.flow_maps import FlowMap

STD = 0.7
SCHEDULE = EDM(0.02, 50.0)
DATA = GaussianMixture([[0.0, 0.0]], STD)


class GaussianMap(nn.Module, FlowMap):
    """The closed-form map of data N(0, STD^2 I), times `1 + error sin^2(phi - psi)`; its diagonal is exact."""

    def __init__(self, error=0.0):
        super().__init__()
        self.error, self.schedule = nn.Parameter(torch.tensor(error, dtype=torch.float64)), SCHEDULE

    def noise(self, x, t):
        level = self._level(x, t)
        return x * level.sigma / (level.alpha**2 * STD**2 + level.sigma**2)

    def denoise(self, x, t):
        level = self._level(x, t)
        return (x - level.sigma * self.noise(x, level)) / level.alpha

    def map(self, x, t, s):
        t, s = self._level(x, t), self._level(x, s)
        variances = (s.alpha**2 * STD**2 + s.sigma**2) / (t.alpha**2 * STD**2 + t.sigma**2)
        return x * variances.sqrt() * (1.0 + self.error * (t.ratio.atan() - s.ratio.atan()).sin().square())

    def map_jacobian(self, x, t, s):
        mapped = self.map(x, t, s)
        return mapped, (mapped / x)[:, :1, None] * torch.eye(2).to(x)
