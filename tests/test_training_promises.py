"""What the training does with labels, times and averages, each promise against the formula written out."""

import functools
import itertools
import math
from dataclasses import dataclass, field

import lightning.pytorch as pl
import pytest
import torch
import training
from scipy import stats

from toy_score import MLP, EDMModule, HeartDataModule, Heun, NCSNModule, ScoreModule
from toy_score.callbacks import EMA, Checkpoint
from toy_score.denoisers import Guided, NetworkDenoiser
from toy_score.modules import Constant
from toy_score.objectives import (
    AllLevels,
    Context,
    DenoisingScoreMatching,
    LogNormalSigma,
    Objective,
    RandomLevels,
    SigmaSquared,
    UniformLogSNR,
    UniformTimes,
    Weighting,
)
from toy_score.parameterisations import LogSigma, NoisePrediction
from toy_score.schedules import DDPM, EDM, VE, VP, Cosine, LinearFlow, SubVP

SCHEDULES = [VE(), EDM(), VP(), SubVP(), Cosine(sigma_max=3.0), LinearFlow(0.01, 1.0), DDPM()]
EVEN = [UniformTimes(), UniformLogSNR(), LogNormalSigma(-0.5, 0.5)]


class Recording(MLP):
    """A network that keeps the labels it is given in training."""

    def forward(self, x, c, labels=None):
        if self.training:
            self.seen = [*getattr(self, "seen", []), labels.expand(len(x)).clone()]
        return super().forward(x, c, labels)


def fit(model, folder, steps, *callbacks, labels=True, **data):
    """The model, trained one step at a time and not validated."""
    data = {"n_train": 6400, "n_val": 64, "steps_at_once": 1, "labels": labels} | data
    training.fit(model, folder, steps, callbacks=callbacks, options={"limit_val_batches": 0}, **data)
    return model


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_batch_repeated_for_every_level_keeps_the_label_of_each_point():
    """The loss of row `l n + i` is that of point i, with its own label, at level l."""
    torch.manual_seed(0)
    schedule, x0, labels = VE(n_levels=5), torch.randn(3, 2), torch.tensor([2, 0, 1])
    net = NetworkDenoiser(MLP((8,), n_labels=3), schedule, NoisePrediction(), LogSigma())
    t = AllLevels()(3, schedule, generator())
    loss = DenoisingScoreMatching()(net.conditioned_on(labels), Context(x0, t, generator(1)))
    eps = torch.randn(15, 2, generator=generator(1))
    for row in range(15):
        point, at = x0[row % 3], schedule.ladder[row // 3].float()
        x = (point + schedule.sigma(at) * eps[row])[None]
        noise = net.conditioned_on(int(labels[row % 3])).noise(x, at.item())
        assert loss[row].item() == pytest.approx((noise - eps[row]).square().mean().item(), rel=1e-5)


def test_with_all_labels_dropped_the_network_learns_none(tmp_path):
    """The vectors of the labels keep their random start; without dropout they are trained."""
    for dropout, kept in ((1.0, True), (0.0, False)):
        torch.manual_seed(0)
        model = EDMModule(backbone=MLP((8,), n_labels=2), label_dropout=dropout)
        before = model.backbone.label_vectors.weight.detach().clone()
        fit(model, tmp_path, 5)
        assert torch.equal(model.backbone.label_vectors.weight, before) is kept


def test_labels_are_dropped_with_the_stated_probability(tmp_path):
    """30 % of 64 000 labels, within 4.9 standard deviations: a false alarm in a million."""
    model = fit(EDMModule(backbone=Recording((4,), n_labels=2), label_dropout=0.3), tmp_path, 100, batch_size=640)
    seen = torch.cat(model.backbone.seen)
    assert len(seen) == 64_000
    assert abs((seen == -1).double().mean() - 0.3) < 4.9 * math.sqrt(0.3 * 0.7 / len(seen))
    assert abs((seen[seen >= 0]).double().mean() - 0.5) < 4.9 * 0.5 / math.sqrt(0.6 * len(seen))


def test_the_decay_of_the_average_is_per_step_whatever_the_interval(tmp_path):
    """A decay of 0.3 every 3 steps is 0.027 an update, below the bound `(1 + n) / (10 + n)` from the first on."""

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            seen.append(torch.cat([p.detach().flatten() for p in pl_module.parameters()]).double())

    seen = []
    model = NCSNModule(backbone=MLP((8,)), lr_schedule=Constant())
    fit(model, tmp_path, 12, Keep(), EMA(decay=0.3, every_n_steps=3), labels=False)
    average = seen[2]
    for weights in seen[5::3]:
        average = 0.3**3 * average + (1 - 0.3**3) * weights
    final = torch.cat([p.detach().flatten() for p in model.parameters()]).double()
    assert torch.allclose(final, average, rtol=0.0, atol=1e-6)


def of_law(times, t, schedule):
    """Where times stand in their law, as numbers uniform on [0, 1]."""
    t = t.double().flatten()
    if isinstance(times, UniformTimes):
        return (t - schedule.t_min) / (schedule.t_max - schedule.t_min)
    log_r = schedule.ratio(t).log()
    if isinstance(times, UniformLogSNR):
        low, high = map(math.log, schedule.ratios)
        return (log_r - low) / (high - low)
    return torch.special.ndtr((log_r - times.mean) / times.std)


@pytest.mark.parametrize("times", EVEN, ids=repr)
def test_evenly_spread_times_are_moved_by_a_random_offset(times):
    """A batch is `(i + u) / n` in its law; u is uniform: DKW's threshold over 2000 batches at a false alarm of 1e-6."""
    schedule, source = EDM(0.01, 80.0), generator(3)
    batches = torch.stack([of_law(times, times(8, schedule, source), schedule) for _ in range(2000)])
    offset = 8 * batches - torch.arange(8)
    assert torch.allclose(offset, offset[:, :1].expand(-1, 8), atol=2e-4)
    assert stats.kstest(offset[:, 0].numpy(), "uniform").statistic < math.sqrt(math.log(2e6) / 4000)


@pytest.mark.parametrize("times", [AllLevels(), RandomLevels(), *EVEN, LogNormalSigma(3.0, 3.0)], ids=repr)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_no_time_is_outside_the_schedule(times, schedule):
    """Of `[t_min, t_max]`, whose ends even times reach to 1 / n of its length where their law does."""
    t = times(1000, schedule, generator())
    assert schedule.t_min * (1 - 1e-6) <= t.min()
    assert t.max() <= schedule.t_max * (1 + 1e-6)
    if isinstance(times, UniformTimes | UniformLogSNR):
        u = of_law(times, t, schedule)
        assert u.min() < 1.1e-3
        assert u.max() > 1 - 1.1e-3


def test_a_guide_with_labels_is_conditioned_on_the_same_label(tmp_path):
    """Samples are those of `D_weak(x, label) + w (D_strong(x, label) - D_weak(x, label))`, bit for bit."""
    torch.manual_seed(0)
    checkpoint = Checkpoint(every_n_steps=100)
    checkpoint.dirpath = str(tmp_path)
    network = functools.partial(EDMModule, backbone=MLP((8, 8), n_labels=2), sampler=Heun(4))
    guide = fit(network(), tmp_path, 2, checkpoint)
    model = network(label=1, guidance=2.0, guide=str(tmp_path / "last.ckpt"))
    weak = ScoreModule.load_from_checkpoint(tmp_path / "last.ckpt").denoiser
    strong = model.denoiser.conditioned_on(1)
    expected = Heun(4)(Guided(strong, weak.conditioned_on(1), 2.0), 50, generator(7))
    assert torch.equal(model.sample(50, seed=7), expected)
    unconditional = Heun(4)(Guided(strong, weak, 2.0), 50, generator(7))
    assert (unconditional - expected).abs().max() > 1e-3
    assert guide.label is None


SEEN = []


@dataclass(frozen=True)
class Watching(Objective):
    """Denoising score matching that keeps what it is given."""

    weighting: Weighting = field(default_factory=SigmaSquared)
    antithetic: bool = False

    def loss(self, denoiser, x, level, eps, context):
        weights = torch.cat([p.detach().flatten() for p in denoiser.backbone.parameters()])
        average = context.averaged and torch.cat([p.detach().flatten() for p in context.averaged.backbone.parameters()])
        SEEN.append((context.step, weights, average, context.truth))
        return (denoiser.noise(x, level) - eps).square().mean(dim=-1)


def test_a_loss_receives_the_step_the_exact_denoiser_and_the_averaged_weights(tmp_path):
    """As a consistency loss needs; the average is `a <- a + (1 - d) (w - a)`, d = min(decay, (1 + n) / (10 + n))."""
    SEEN.clear()
    model = NCSNModule(backbone=MLP((8,)), objective=Watching(), lr_schedule=Constant())
    fit(model, tmp_path, 6, EMA(decay=0.5, every_n_steps=1), labels=False)
    assert [step for step, *_ in SEEN] == list(range(6))
    assert all(truth.distribution == HeartDataModule().distribution for *_, truth in SEEN)
    average = SEEN[0][1]  # the average starts at the first weights
    for n, ((_, _, seen, _), (_, after, following, _)) in enumerate(itertools.pairwise(SEEN)):
        assert torch.allclose(seen, average, atol=1e-6)
        average = average + (1 - min(0.5, (1 + n) / (10 + n))) * (after - average) if n else after
        assert torch.allclose(following, average, atol=1e-6)
    assert not torch.allclose(SEEN[-1][1], SEEN[-1][2])


def test_without_an_average_a_loss_receives_none(tmp_path):
    SEEN.clear()
    fit(NCSNModule(backbone=MLP((8,)), objective=Watching()), tmp_path, 1, labels=False)
    assert [average for _, _, average, _ in SEEN] == [None]


def test_the_noise_of_a_pair_may_be_given():
    net = NetworkDenoiser(MLP((8,)), VE(), NoisePrediction(), LogSigma())
    x0, eps, t = (
        torch.randn(4, 2, generator=generator()),
        torch.randn(4, 2, generator=generator(1)),
        torch.full((4, 1), 0.5),
    )
    level = net.schedule.level(t)
    loss = DenoisingScoreMatching()(net, Context(x0, t, generator(2), eps=eps))
    by_hand = (net.noise(level.alpha * x0 + level.sigma * eps, level) - eps).square().mean(dim=-1)
    assert torch.equal(loss, by_hand)
