"""Noise that reveals a sampler's map where that is affine, as on Gaussian data: unit noises, one at a time."""

import torch

f64 = torch.float64


class UnitNoise:
    """Row 0 gets no noise; row i gets a unit noise in draw i - 1: the columns of the sampler's affine map."""

    def __init__(self, draws):
        self.rows, self.draw = draws + 1, 0

    def normal(self):
        z = torch.zeros(self.rows, 2, dtype=f64)
        self.draw += 1
        if self.draw < self.rows:
            z[self.draw, 0] = 1.0
        return z

    def uniform(self):
        self.draw += 1
        return torch.full((self.rows, 2), 0.5, dtype=f64)
