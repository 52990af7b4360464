"""A report that holds nan says so, exits with 1, and its JSON is valid."""

import json
import math

import pytest
import torch

from toy_score import __main__ as entry
from toy_score.denoisers import ExactDenoiser
from toy_score.distributions import Heart, SplitNormal
from toy_score.metrics import Likelihood, check_finite, finite_or_null
from toy_score.schedules import EDM


def run(*argv):
    entry.main([str(a) for a in argv])


def failed(capsys, *argv):
    """What a command printed, and the one line by which it failed with exit code 1."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run(*argv)
    said = capsys.readouterr()
    assert stop.value.code == 1
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, lines
    return said.out, lines[0]


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A checkpoint whose weights are finite and so large that the network answers nan."""
    folder = tmp_path_factory.mktemp("runs")
    quiet = ["--trainer.logger", "false", "--trainer.default_root_dir", folder, "--pictures.every_n_steps", 1000000]
    short = ["--trainer.max_steps", 2, "--trainer.accelerator", "cpu", "--data.n_val", 64, "--pictures.frames", 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("fit", "--config", "edm_heart", *short, *quiet[4:], "--pictures.n_samples", 50)
        path = next(folder.rglob("last.ckpt"))
    content = torch.load(path, weights_only=True)
    content["state_dict"] = {k: torch.full_like(v, 3e38) for k, v in content["state_dict"].items()}
    torch.save(content, path)
    return path


FEW = ["--trainer.accelerator", "cpu"]


def test_a_test_that_finds_nan_names_the_figures_and_exits_with_1(broken, tmp_path, capsys):
    out, line = failed(
        capsys, "test", "--ckpt_path", broken, *FEW, "--data.n_samples", 200, "--output", tmp_path / "m.json"
    )
    assert line.startswith("error: not finite: score_error.mean, score_error.per_level.0.error, ")
    assert "metrics:" in out
    kept = json.loads((tmp_path / "m.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert kept["sliced_w1"]["value"] is None
    assert kept["sliced_w1"]["floor"] > 0


def test_a_validation_that_finds_nan_names_the_figures_and_exits_with_1(broken, capsys):
    out, line = failed(capsys, "validate", "--ckpt_path", broken, *FEW, "--data.n_val", 64)
    assert "val/loss" in out
    assert line.startswith("error: not finite: val/loss, ")


def test_figures_that_are_not_finite_are_null_in_json_and_named_by_their_place():
    figures = {"a": {"b": math.nan, "c": 1.0}, "rows": [{"x": 2}, {"x": -math.inf}], "told": "nan", "none": None}
    assert finite_or_null(figures) == {
        "a": {"b": None, "c": 1.0},
        "rows": [{"x": 2}, {"x": None}],
        "told": "nan",
        "none": None,
    }
    with pytest.raises(FloatingPointError, match=r"^not finite: a\.b, rows\.1\.x; "):
        check_finite(figures)
    with pytest.raises(FloatingPointError, match="0, 1, 2, 3, 4 and 4 more;"):
        check_finite([math.nan] * 9)
    check_finite(finite_or_null(figures))


class NoisyLaw:
    """A flow whose density is that of a little noise, and whose latent points are the points."""

    def __init__(self, p):
        self.p = p

    def log_prob(self, x):
        return self.p.log_prob(x, 0.01)

    def encode(self, x):
        return x

    decode = encode


@pytest.mark.parametrize("p", [Heart(), SplitNormal()], ids=repr)
def test_the_forward_kl_of_own_samples_is_finite_in_float32(p):
    """The clean log density was nan at far samples: |x_0| >= 4 of the heart, 4.6% of the split normal's."""
    metric = Likelihood(ExactDenoiser(p, EDM()))
    metric._exact = NoisyLaw(p)
    metric.update(NoisyLaw(p), p.sample(20_000, torch.Generator().manual_seed(0)))
    summary = metric.summary()
    check_finite(summary)
    assert summary["nll"] == pytest.approx(p.entropy(), abs=0.05)
    assert abs(summary["forward_kl"]) < 0.01


def test_a_likelihood_of_no_points_is_nan_and_not_zero():
    summary = Likelihood(ExactDenoiser(Heart(), EDM())).summary()
    assert all(math.isnan(summary[name]) for name in ("nll", "forward_kl", "forward_kl_floor", "round_trip"))
