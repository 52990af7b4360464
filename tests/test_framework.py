"""One framework: any sampler with any model, DDPM as a special case of NCSN, guidance."""

import numpy as np
import pytest
import torch

from toy_score import __main__ as entry
from toy_score.denoisers import ExactDenoiser, Guided, Rescheduled
from toy_score.distributions import Heart, SplitNormal
from toy_score.modules import DDPMModule, EDMModule, FlowMatchingModule, NCSNModule, ScoreSDEModule
from toy_score.objectives import Context, DenoisingScoreMatching
from toy_score.samplers import (
    DDIM,
    AdamsBashforth,
    AdaptiveDormandPrince,
    AnnealedLangevin,
    DDPMAncestral,
    DormandPrince,
    DPMSolver2M,
    EDMStochastic,
    Euler,
    EulerMaruyama,
    ExponentialAdams,
    Heun,
    Karras,
    Langevin,
    LangevinCorrector,
    NoPredictor,
    PredictorCorrector,
    ReverseDiffusion,
    RungeKutta4,
)
from toy_score.schedules import DDPM, VE, VP

MODULES = [NCSNModule, DDPMModule, ScoreSDEModule, EDMModule, FlowMatchingModule]
SAMPLERS = [
    DDIM(8),
    DDIM(8, eta=1.0),
    AdamsBashforth(8),
    AdaptiveDormandPrince(1e-1),
    AnnealedLangevin(2),
    DDPMAncestral("posterior", 8),
    DDPMAncestral("forward", 8),
    DPMSolver2M(8),
    DormandPrince(4),
    EDMStochastic(8),
    Euler(8),
    EulerMaruyama(50),
    ExponentialAdams(8),
    Heun(8),
    Langevin(10),
    PredictorCorrector(ReverseDiffusion(50)),
    PredictorCorrector(NoPredictor(8), LangevinCorrector(n_steps=2)),
    ReverseDiffusion(50),
    RungeKutta4(4),
]
f64 = torch.float64


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_every_sampler_runs_with_every_model(module, sampler):
    """An untrained network will do: what is promised is that the two understand one another."""
    torch.manual_seed(0)
    model = module(sampler=sampler)
    x = model.sample(64, seed=1)
    assert x.shape == (64, 2)
    assert x.isfinite().all()
    assert torch.equal(x, model.sample(64, seed=1))
    assert model.trajectory(2, seed=1).x[-1].isfinite().all()


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
@pytest.mark.parametrize("sampler", [DPMSolver2M(40), DDPMAncestral(n_steps=300, grid=Karras()), AdamsBashforth(16)])
def test_with_the_exact_denoiser_the_schedule_of_every_model_samples_the_heart(module, sampler):
    """Means of |x| within 4.9 standard errors of 4000 samples, plus 0.05, or 0.15 for a narrow prior."""
    schedule = module().schedule
    x = sampler(ExactDenoiser(Heart(), schedule), 4000, generator())
    real = Heart().reference().abs().mean(dim=0)
    allowance = 0.15 if module is NCSNModule else 0.05
    assert ((x.abs().mean(dim=0) - real).abs() < 4.9 * x.abs().std(dim=0) / 4000**0.5 + allowance).all()


# DDPM as a special case of NCSN


def test_the_noise_levels_of_ddpm_are_levels_of_ncsn_in_sigma_over_alpha():
    """`sigma_i = sqrt(1 / alphabar_i - 1)`: the ratios of DDPM's levels are the sigmas of VE's at the same place."""
    ddpm = DDPM()
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=f64), 0).flip(0)
    sigmas = (1 / alpha_bar - 1).sqrt()
    assert torch.allclose(ddpm.ratio(ddpm.ladder), sigmas, rtol=1e-9)
    ve = VE(*ddpm.ratios)
    assert torch.allclose(ve.sigma(ve.time(sigmas)), sigmas, rtol=1e-9)


def test_the_loss_of_ddpm_is_that_of_ncsn_up_to_rounding():
    """One network, one noise: |eps_theta - eps|^2 on DDPM's ladder is sigma^2-weighted score matching on NCSN's."""
    torch.manual_seed(0)
    ncsn = NCSNModule(VE(0.005, 200.0)).denoiser.double()
    as_ddpm = Rescheduled(ncsn, DDPM())
    x0, t = Heart().sample(500, generator()).double(), torch.rand(500, 1, generator=generator(1), dtype=f64).clamp(1e-3)
    loss_ddpm = DenoisingScoreMatching()(as_ddpm, Context(x0, t, generator(2)))
    sigma = DDPM().ratio(t)
    eps = torch.randn(500, 2, generator=generator(2), dtype=f64)
    score = ncsn.score(x0 + sigma * eps, ncsn.schedule.time(sigma))
    loss_ncsn = sigma[:, 0] ** 2 * (score + eps / sigma).square().mean(dim=1)  # NCSN, eqs. 5 and 6
    assert torch.allclose(loss_ddpm, loss_ncsn, rtol=1e-6)


@pytest.mark.parametrize("sampler", [AnnealedLangevin(20, n_levels=20), DDPMAncestral(n_steps=100)], ids=repr)
def test_a_rescheduled_denoiser_gives_the_same_samples(sampler):
    """The truth under VP, seen from VE, is the truth under VE: the same samples."""
    ve, vp = VE(0.02, 100.0), VP()
    direct = sampler(ExactDenoiser(SplitNormal(), ve), 200, generator())
    seen = sampler(Rescheduled(ExactDenoiser(SplitNormal(), vp), ve), 200, generator())
    assert ((direct - seen).norm(dim=1) < 1e-2).float().mean() > 0.98


# Guidance


@pytest.mark.parametrize("label", [0, 1])
def test_the_exact_denoiser_of_a_class_samples_that_class_and_guidance_sharpens_it(label):
    truth = ExactDenoiser(SplitNormal(), VP())
    given = truth.conditioned_on(label)
    side = 2 * label - 1
    plain = RungeKutta4(12)(given, 4000, generator())
    guided = RungeKutta4(12)(Guided(given, truth, 3.0), 4000, generator())
    assert (side * plain[:, 0] > 0).float().mean() > 0.999
    assert (side * guided[:, 0] > 0).float().mean() > 0.999
    assert side * guided[:, 0].mean() > side * plain[:, 0].mean() + 0.02


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A network that knows labels, after 300 steps."""
    folder = tmp_path_factory.mktemp("labels")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        few = ["--trainer.max_steps", "300", "--trainer.val_check_interval", "60", "--trainer.accelerator", "cpu"]
        few += ["--pictures.n_samples", "50", "--pictures.frames", "0"]
        entry.main(["fit", "--config", "edm_split_normal_labels", *few])
    return folder / "lightning_logs/edm_split_normal_labels/version_0/checkpoints/last.ckpt"


def predict(ckpt, output, *flags):
    entry.main(["predict", "--ckpt_path", str(ckpt), "--n_samples", "1000", "--output", output, *flags])
    return np.load(output)


def test_label_guidance_and_guide_are_flags_of_predict(labelled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = predict(labelled, "both.npy")
    right = predict(labelled, "right.npy", "--model.label", "1")
    guided = predict(labelled, "guided.npy", "--model.label", "1", "--model.guidance", "3")
    away = predict(labelled, "away.npy", "--model.guidance", "1.5", "--model.guide", str(labelled))
    assert 0.3 < (both[:, 0] > 0).mean() < 0.7
    assert (right[:, 0] > 0).mean() > 0.95
    assert (guided[:, 0] > 0).mean() > 0.95
    assert not np.allclose(right, guided)
    assert np.allclose(away, both, atol=1e-3)  # a network guided away from itself is itself


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--model.guidance", "2"], "needs a label to guide to or a guide"),
        (["--model.label", "5"], "there is no class 5; the classes are 0 = left, 1 = right"),
        (["--model.guidance", "2", "--model.guide", "none.ckpt"], "there is no checkpoint 'none.ckpt'"),
    ],
)
def test_impossible_guidance_is_refused_in_one_line(labelled, flags, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        predict(labelled, "x.npy", *flags)
    assert stop.value.code == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert words in said[0]
    assert not (tmp_path / "x.npy").exists()
