"""
Seven schedules, one process
============================

How fast each schedule goes through the noise levels. On the axis of `sigma / alpha` they are all the same process.
"""

import matplotlib.pyplot as plt
import torch

from toy_score import DDPM, EDM, VE, VP, Cosine, LinearFlow, SubVP

figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for schedule in (VE(0.01, 20.0), EDM(), VP(), SubVP(), Cosine(), LinearFlow(), DDPM()):
    t = torch.linspace(schedule.t_min, schedule.t_max, 400)
    alpha, sigma = schedule(t)
    style = "--" if isinstance(schedule, DDPM) else "-"
    axes[0].plot(t, alpha, style)
    axes[1].semilogy(t, (sigma / alpha).clamp(min=1e-3), style, label=type(schedule).__name__)
axes[0].set(title="what remains of the data", xlabel="t", ylabel=r"$\alpha$")
axes[1].set(title="noise level", xlabel="t", ylabel=r"$\sigma / \alpha$", ylim=(1e-3, 1e3))
axes[1].legend(ncols=2)
