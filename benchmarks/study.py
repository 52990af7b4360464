"""The training loops of the original study, re-created from their description, as the reference for speed and quality.

A `DataLoader` with four workers serves batches of 128 out of 10 000 points; Adam with a learning rate of 1e-4; NCSN
makes ten passes per batch, one per noise level, one after the other; DDPM makes one, at a random step of a thousand.
"""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from toy_score import DDPM, VE, Heart, SplitNormal

N_POINTS, BATCH, LEARNING_RATE, WORKERS = 10_000, 128, 1e-4, 4
DISTRIBUTIONS = {"heart": Heart, "split_normal": SplitNormal}


def network() -> nn.Sequential:
    """3 -> 128 -> 128 -> 2 with softplus."""
    return nn.Sequential(
        nn.Linear(3, 128), nn.Softplus(), nn.Linear(128, 128), nn.Softplus(), nn.Linear(128, 2)
    )  # fmt: skip


def ncsn_loss(net: nn.Module, x0: Tensor) -> Tensor:
    """Denoising score matching at ten levels, one pass each, weighted by sigma^2."""
    schedule = VE(sigma_min=0.01, sigma_max=5.0, n_levels=10)
    loss = torch.zeros(())
    for sigma in schedule.sigma(schedule.ladder).float():
        noise = torch.randn_like(x0)
        score = net(torch.cat([x0 + sigma * noise, sigma.expand(len(x0), 1)], dim=1))
        loss = loss + 0.5 * sigma**2 * (score + noise / sigma).square().mean()
    return loss / 10


def ddpm_loss(net: nn.Module, x0: Tensor) -> Tensor:
    """The noise at a random step of a thousand."""
    alpha_bar = torch.cumprod(1 - DDPM().betas.float(), dim=0)
    step = torch.randint(1000, (len(x0), 1))
    noise = torch.randn_like(x0)
    x = alpha_bar[step].sqrt() * x0 + (1 - alpha_bar[step]).sqrt() * noise
    return (net(torch.cat([x, step / 1000], dim=1)) - noise).square().mean()


LOSSES: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {"ncsn": ncsn_loss, "ddpm": ddpm_loss}


def seconds_per_epoch(model: str, distribution: str, epochs: int = 3) -> float:
    """Wall time of an epoch of the original study's loop, after one to warm up."""
    points = DISTRIBUTIONS[distribution]().sample(N_POINTS, torch.Generator().manual_seed(0))
    loader = DataLoader(TensorDataset(points), BATCH, shuffle=True, num_workers=WORKERS)
    net, loss_of = network(), LOSSES[model]
    optimizer = torch.optim.Adam(net.parameters(), lr=LEARNING_RATE)

    def epoch() -> None:
        for (x0,) in loader:
            loss = loss_of(net, x0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    epoch()
    start = time.perf_counter()
    for _ in range(epochs):
        epoch()
    return (time.perf_counter() - start) / epochs
