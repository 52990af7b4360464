"""
The best denoiser of seven points
=================================

For a finite set of points the best denoiser is known: the average of the points, weighted by how likely each is to have
become the noisy one. A network that fits its training set perfectly is this denoiser, and can only return training
points. The arrows go from noisy points to their best guess.
"""

import matplotlib.pyplot as plt
import torch

from toy_score import Points

points = torch.tensor([[-1.2, 0.4], [-0.8, -0.9], [0.1, 0.9], [0.3, -0.2], [0.9, 0.5], [1.1, -0.8], [-0.2, -1.3]])
distribution = Points(points)
axis = torch.linspace(-2, 2, 17)
y = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(-1, 2)

figure, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
for ax, sigma in zip(axes, [1.0, 0.4, 0.15], strict=True):
    guess = distribution.denoise(y, sigma)
    ax.quiver(*y.T, *(guess - y).T, angles="xy", scale_units="xy", scale=1, width=0.004, color="0.55")
    ax.scatter(*guess.T, s=8, color="C3", label="best guess", zorder=3)
    ax.scatter(*points.T, s=34, facecolors="none", edgecolors="C0", label="points", zorder=4)
    ax.set(title=rf"$\sigma$ = {sigma}", aspect="equal", xticks=[], yticks=[])
axes[0].legend(loc="upper left")
