"""
What an evaluation buys
=======================

Three samplers with the exact denoiser: the distance of 5000 samples from the truth, as a multiple of the distance of
5000 exact samples, against the number of evaluations. Nothing but the discretisation is wrong here.
"""

import matplotlib.pyplot as plt
import torch

from toy_score import EDM, ExactDenoiser, Heart, Heun, RungeKutta4, StochasticMidpoint, evaluate

exact = ExactDenoiser(Heart(), EDM(sigma_min=0.02, sigma_max=500.0))
figure, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
for build, steps in ((RungeKutta4, (2, 3, 5)), (Heun, (6, 12, 24, 48)), (StochasticMidpoint, (6, 12, 24))):
    cost, ratio = [], []
    for n in steps:
        sampler = build(n_steps=n)
        x = sampler(exact, n=5000, generator=torch.Generator().manual_seed(0))
        cost.append(sampler.nfe(exact.schedule))
        ratio.append(evaluate(x, Heart()).as_dict()["sliced_w1"]["ratio"])
    ax.loglog(cost, ratio, "o-", label=build.__name__)
ax.axhline(1.0, color="0.5", linestyle=":", label="exact samples")
ax.set(xlabel="evaluations of the denoiser", ylabel="sliced W1 / its noise floor")
ax.legend()
