"""
Langevin dynamics does not find the weights
===========================================

Two modes, one four times as heavy as the other. Langevin dynamics with the exact score of the clean density starts
uniformly and never crosses the empty region, so each mode keeps the share of the points that start on its side.
Annealed Langevin dynamics begins at high noise, where the two modes are one, and comes close to the true weights (Song
and Ermon 2019, section 3).
"""

import matplotlib.pyplot as plt
import torch

from toy_score import VE, AnnealedLangevin, ExactDenoiser, Langevin, NCSNMixture

mixture = NCSNMixture()  # the modes have unit variance: two points, noised to sigma = 1
exact = ExactDenoiser(NCSNMixture(std=1e-3), VE(sigma_min=1.0, sigma_max=20.0))
generator = torch.Generator().manual_seed(0)
annealed = AnnealedLangevin(steps_per_level=100, eps=0.1, uniform_start=8.0)
samples = {
    "exact": mixture.sample(1200, generator),
    "Langevin": Langevin(n_steps=1000, eps=0.1, uniform_start=8.0)(exact, n=1200, generator=generator),
    "annealed Langevin": AnnealedLangevin(steps_per_level=100, eps=0.1, uniform_start=8.0)(
        exact, n=1200, generator=generator
    ),
}

figure, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained", sharex=True, sharey=True)
for ax, (name, x) in zip(axes, samples.items(), strict=True):
    light = (x.sum(dim=-1) < 0).float().mean()
    ax.scatter(*x.T, s=4, alpha=0.5, color="C0" if name == "exact" else "C3")
    ax.set(title=f"{name}: {light:.0%} below left", aspect="equal", xlim=(-9, 9), ylim=(-9, 9))
