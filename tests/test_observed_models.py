"""A model after an observation, on the command line and in Python: samples, tests, budgets, comparisons."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import rc_context

from toy_score import (
    EDM,
    MLP,
    PGDM,
    EDMModule,
    EightGaussians,
    ExactDenoiser,
    Guided,
    Heart,
    LinearObservation,
    Posterior,
    RungeKutta4,
    Standardisation,
    __main__ as entry,
    error_budget,
)
from toy_score.compare.contestants import load_models
from toy_score.component import from_config, to_config
from toy_score.data import KnownData
from toy_score.distributions import Points
from toy_score.plotting import posterior, to_png

RUN = str(Path(__file__).parent / "version_0_1_0" / "last.ckpt")
FIRST = LinearObservation([[1.0, 0.0]], [1.0], 0.3)
FLAGS = [f"--model.observation.{name}" for name in ("matrix", "value", "std")]
GIVEN = [word for pair in zip(FLAGS, ("[[1, 0]]", "[1.0]", "0.3"), strict=True) for word in pair]
FEW = ["--model.sampler", "TwistedDiffusion", "--model.sampler.n_steps", "8", "--trainer.accelerator", "cpu"]


def small(**arguments):
    torch.manual_seed(0)
    model = EDMModule(backbone=MLP((8,)), **arguments)
    model.data = KnownData(Heart())
    return model


def test_predict_and_test_after_an_observation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    entry.main(["predict", "--ckpt_path", RUN, "--n_samples", "300", "--output", "x.npy", *GIVEN, *FEW])
    assert "model.observation: LinearObservation(matrix=[[1.0, 0.0]], std=0.3, value=[1.0])" in capsys.readouterr().out
    assert abs(np.load("x.npy")[:, 0].mean() - 1.0) < 0.3
    entry.main(["test", "--ckpt_path", RUN, "--n_samples", "300", "--output", "m.json", *GIVEN, *FEW])
    assert "heart posterior" in capsys.readouterr().out
    assert Path("m_posterior.png").stat().st_size > 10_000
    metrics = json.loads(Path("m.json").read_text())
    assert metrics["settings"]["model.observation"]["init_args"]["std"] == 0.3
    assert metrics["sliced_w1"]["value"] < 1.0  # the prior's samples are further away


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([*GIVEN, "--model.observation.std", "0"], "std must be positive, got 0.0"),
        (GIVEN[2:], "LinearObservation needs matrix; add --model.observation.matrix"),
        ([*GIVEN, "--model.rule", "MMPS"], "there is no PosteriorRule 'MMPS'"),
        (["--model.rule", "DPS"], "--model.rule corrects samples for an observation; add --model.observation"),
        ([*GIVEN, "--model.observation.matrix", "[[0, 0]]"], "none of them zero"),
    ],
)
def test_an_observation_that_cannot_be_is_one_line_and_exit_code_2(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        entry.main(["predict", "--ckpt_path", RUN, "--output", "x.npy", *flags])
    assert end.value.code == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_a_model_with_an_observation_is_compared_with_the_exact_posterior():
    model = small(observation=FIRST, rule=PGDM(1.4))
    assert from_config(to_config(model)).observation == FIRST
    assert model.sampling_denoiser == Posterior(model.denoiser, FIRST, PGDM(1.4))
    assert model.target.distribution == Heart().posterior(FIRST)
    assert model.reference_denoiser == ExactDenoiser(Heart().posterior(FIRST), model.schedule)
    assert model.guided_reference == Posterior(ExactDenoiser(Heart(), model.schedule), FIRST, PGDM(1.4))
    assert small().guided_reference is None


def test_label_guidance_and_observation_work_together():
    torch.manual_seed(0)
    model = EDMModule(backbone=MLP((8,), n_labels=2), label=1, guidance=2.0, observation=FIRST)
    model.data = KnownData(Heart())
    denoiser = model.sampling_denoiser
    assert isinstance(denoiser, Posterior)
    assert isinstance(denoiser.denoiser, Guided)
    assert model.target.distribution == Heart().conditioned_on(1).posterior(FIRST)


def test_an_observation_is_in_the_units_of_the_data():
    model = small(observation=FIRST, standardisation=Standardisation([0.5, 0.0], [2.0, 1.0]))
    z = torch.tensor([[0.25, 1.0]])  # x = 1
    assert model.observation_in_units.residual(z).abs().item() < 1e-6


def test_points_alone_have_no_exact_posterior():
    known = KnownData(Points(torch.randn(50, 2)), source="PointsDataModule")
    with pytest.raises(ValueError, match=r"not for the points of PointsDataModule; leave out --model\.observation"):
        known.after(FIRST)


def test_a_checkpoint_with_an_observation_is_compared_with_its_posterior(tmp_path):
    checkpoint = torch.load(RUN, weights_only=True)
    checkpoint["hyper_parameters"]["init_args"]["observation"] = to_config(FIRST)
    torch.save(checkpoint, tmp_path / "observed.ckpt")
    (contestant,) = load_models([str(tmp_path / "observed.ckpt")], "cpu")
    assert isinstance(contestant.denoiser, Posterior)
    assert contestant.distribution.observation == FIRST


def test_the_rule_is_a_cause_of_its_own_in_a_budget():
    schedule, sampler = EDM(sigma_min=0.02, sigma_max=100.0), RungeKutta4(8)
    truth = ExactDenoiser(Heart().posterior(FIRST), schedule)
    ruled = Posterior(ExactDenoiser(Heart(), schedule), FIRST, PGDM(0.3))
    found = error_budget(truth, ruled, sampler, guided=ruled, cause="rule", n=600, seeds=[0, 1])
    assert next(iter(found.causes)) == "rule"
    assert found["network"].above == "rule"
    assert found["network alone"].above == "rule alone"


def test_the_picture_of_a_posterior_has_its_observation(tmp_path):
    both = LinearObservation([[1.0, 0.0], [0.5, 1.0]], [1.0, 0.2], 0.3)
    x = Heart().posterior(both).sample(50)
    figure = posterior({"TMPD": x, "TDS": x}, x, Heart(), both, "two observations")
    assert [ax.get_title() for ax in figure.axes] == ["exact posterior", "TMPD", "TDS"]
    for ax in figure.axes:
        lines = [line for line in ax.get_lines() if line.get_linestyle() == "--"]
        for line, row, value in zip(lines, both.matrix, both.value, strict=True):
            assert np.allclose(np.array(line.get_xydata()) @ row, value, atol=1e-5)
    assert to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(("methods", "letters"), [(1, 16), (5, 10)])
def test_the_key_of_the_picture_of_a_posterior_hides_no_points(methods, letters):
    x = EightGaussians().posterior(FIRST).sample(20)
    with rc_context({"font.size": letters}):
        figure = posterior({str(k): x for k in range(methods)}, x, EightGaussians(), FIRST, "key")
        figure.draw_without_rendering()
    assert not any(ax.get_legend() for ax in figure.axes)
    key = figure.legends[0].get_window_extent()
    lowest = min(ax.get_tightbbox().y0 for ax in figure.axes if ax.get_visible())
    assert key.y1 < lowest
    assert 0 < key.x0 < key.x1 < figure.bbox.x1
    assert key.y0 >= 0
    words = {text.get_text() for text in figure.legends[0].get_texts()}
    assert words == {"exact posterior", "generated", "prior", "observation", "two standard deviations"}
