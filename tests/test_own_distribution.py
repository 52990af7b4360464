"""The examples of docs/distributions.md and docs/your_own_classes.md, as a user would follow them."""

import ast
import json
import re
import sys
from pathlib import Path

import pytest

from toy_score import __main__ as entry

PAGE = Path(__file__).parents[1] / "docs/distributions.md"
PAGE_OF_CLASSES = (Path(__file__).parents[1] / "docs/your_own_classes.md").read_text(encoding="utf-8")
QUICK = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--data.n_val", "64", "--pictures.n_samples", "50"]
QUICK += ["--pictures.frames", "0"]


def classes_blocks():
    """The blocks of Python of the page; the first is the file `mine.py`."""
    return re.findall(r"```python\n(.*?)```", PAGE_OF_CLASSES, flags=re.S)


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """The two blocks of Python of the page's last section, the first as a module in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    section = PAGE.read_text(encoding="utf-8").partition("## Your own distribution")[2]
    blocks = re.findall(r"```python\n(.*?)```", section, flags=re.S)
    assert len(blocks) == 2
    Path("cross.py").write_text(blocks[0])
    return blocks


def test_the_documented_check_of_the_documented_distribution_passes_and_would_find_an_error(blocks):
    names = {}
    exec(blocks[0], names)
    exec(blocks[1], names)
    cross = names["Cross"]
    exact = cross.score
    cross.score = lambda self, x, sigma: 0.999 * exact(self, x, sigma)
    with pytest.raises(AssertionError):
        exec(blocks[1], names)


def test_a_distribution_of_the_users_own_is_trained_and_tested_by_the_command_line(blocks, capsys):
    data = ["--data", "cross.CrossDataModule", "--data.short", "0.1"]
    entry.main(["fit", "--config", "edm_heart", *data, *QUICK])
    run = Path("lightning_logs/edm_heart/version_0")
    assert "short: 0.1" in (run / "config.yaml").read_text()
    checkpoint = ["--ckpt_path", str(run / "checkpoints/last.ckpt")]
    argv = ["--n_samples", "200", "--output", "metrics.json", "--model.sampler", "Euler", "--data.repeats", "1"]
    entry.main(["test", *checkpoint, *data, *argv])
    metrics = json.loads(Path("metrics.json").read_text())
    assert metrics["mode_weights"].keys() == {"0", "1"}


@pytest.fixture
def mine(blocks, monkeypatch):
    """A run with the classes of both pages; their modules are as good as never imported."""
    Path("mine.py").write_text(classes_blocks()[0])
    own = ["--data", "cross.CrossDataModule", "--model.sampler", "mine.Midpoint"]
    own += ["--model.objective.weighting", "mine.MinSNR", "--model.objective.weighting.gamma", "3"]
    own += ["--model.backbone", "mine.Residual", "--model.backbone.width", "8"]
    entry.main(["fit", "--config", "edm_heart", *own, *QUICK])
    for name in ("mine", "cross"):
        monkeypatch.delitem(sys.modules, name)
    return Path("lightning_logs/edm_heart/version_0")


def test_a_checkpoint_with_the_users_own_classes_needs_their_import_and_nothing_else(mine, capsys):
    argv = ["predict", "--ckpt_path", str(mine / "checkpoints/last.ckpt"), "--n_samples", "50", "--output", "x.csv"]
    with pytest.raises(SystemExit) as stop:
        entry.main(argv)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "refusing the class path 'mine.M" in said
    assert "--import mine" in said
    assert "mine" not in sys.modules  # nothing of it was run
    entry.main([*argv, "--import", "mine", "--import=cross"])
    assert len(Path("x.csv").read_text().splitlines()) == 51
    assert "Midpoint(n_steps=10" in capsys.readouterr().out


def test_a_network_of_ones_own_gets_one_number_and_one_label_for_each_point():
    """Whether the level is one number for all points or one for each; the answers are the same."""
    import torch

    from toy_score import VE, LogSigma, NetworkDenoiser, NoisePrediction
    from toy_score.backbones import Backbone

    class Watching(Backbone):
        n_labels = 3

        def __init__(self):
            super().__init__()
            self.layer, self.shapes = torch.nn.Linear(4, 2), []

        def forward(self, x, c, labels=None):
            self.shapes.append((c.shape, None if labels is None else labels.shape))
            return self.layer(torch.cat([x, c, labels[:, None]], dim=-1))

    network = Watching()
    denoiser = NetworkDenoiser(network, VE(), NoisePrediction(), LogSigma()).conditioned_on(2)
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    answers = [denoiser.noise(x, 0.5), denoiser.noise(x, torch.full((5, 1), 0.5)), denoiser.noise_jacobian(x, 0.5)[0]]
    assert network.shapes[:2] == 2 * [((5, 1), (5,))]
    assert all(shape == ((5, 1), (5,)) for shape in network.shapes)
    assert all(torch.allclose(answer, answers[0], atol=1e-6) for answer in answers)


def test_own_classes_are_listed_after_those_of_the_package(blocks, capsys):
    Path("my_samplers.py").write_text("".join(classes_blocks()[:2]))
    entry.main(["list", "samplers", "objectives", "backbones", "--import", "my_samplers"])
    said = capsys.readouterr().out
    samplers, rest = said.split("objectives")
    assert samplers.index("my_samplers.TwoStep(n_steps=20, grid=Angular())") > samplers.index("  TwistedDiffusion(")
    assert "\n      The flow by the two-step method of Adams and Bashforth" in samplers
    assert "my_samplers.Residual(width=64, n_blocks=2)" in rest
    assert "my_samplers.PseudoHuber(weighting=OutputWeighting(), antithetic=False, c=10.0)" in rest
    assert said.count("my_samplers") == 4


def test_the_documented_loss_is_that_of_score_matching_for_large_c_and_trains(blocks, monkeypatch):
    """`c (sqrt(c^2 + e) - c) = e / 2 - e^2 / (8 c^2) + ...`, whose first term is the mean over two coordinates."""
    import torch

    from toy_score import MLP, DenoisingScoreMatching, EDMModule, Heart
    from toy_score.objectives import Context, OutputWeighting

    Path("mine.py").write_text(classes_blocks()[0])
    entry.main(
        ["fit", "--config", "edm_heart", "--model.objective", "mine.PseudoHuber", "--model.objective.c", "3", *QUICK]
    )
    loss = sys.modules["mine"].PseudoHuber
    monkeypatch.delitem(sys.modules, "mine")
    x0, t = (
        Heart().sample(200, torch.Generator().manual_seed(0)).double(),
        torch.linspace(0.1, 0.9, 200)[:, None].double(),
    )
    denoiser = EDMModule(backbone=MLP((8,))).denoiser.double()

    def of(objective):
        return objective(denoiser, Context(x0, t, torch.Generator().manual_seed(1)))

    squared = of(DenoisingScoreMatching(OutputWeighting()))
    assert torch.allclose(of(loss(c=1e3)), squared, rtol=1e-4, atol=1e-8)
    assert (of(loss(c=1.0)) < squared).all()


def test_own_samplers_are_compared_on_ones_own_distribution(mine):
    few = ["--n_steps", "3,6", "--n_samples", "200", "--seeds", "1", "--device", "cpu"]
    samplers = ["--samplers", "Euler,mine.Midpoint,mine.Midpoint(n_steps=4)"]
    entry.main(["compare", str(mine), "--output", "out", "--import", "mine", "--import", "cross", *samplers, *few])
    rows = json.loads(Path("out/results.json").read_text())["cells"]
    assert {row["sampler"] for row in rows} >= {"Euler(n_steps=3)", "Midpoint(n_steps=6)", "Midpoint(n_steps=4)"}


@pytest.mark.parametrize("given", [["--import", "nowhere"], ["--import"], ["--import=not/a/module"]])
def test_a_module_that_cannot_be_imported_is_reported_in_one_line(given, capsys):
    with pytest.raises(SystemExit) as stop:
        entry.main(["list", *given])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: cannot import {(given[-1].partition('=')[2] or 'nowhere' * (len(given) > 1))!r}")
    assert said.count("\n") == 1


def test_the_documented_samplers_have_the_order_they_state(capsys):
    names = {}
    for block in classes_blocks():
        exec(block, names)
    (printed,) = capsys.readouterr().out.splitlines()
    assert (
        f"print(errors(Midpoint, [40, 80, 160]))  # {', '.join(map(in_tens, ast.literal_eval(printed)))}"
        in PAGE_OF_CLASSES
    )
    for cls in (names["Midpoint"], names["TwoStep"]):
        coarse, fine = names["errors"](cls, [160, 320])
        assert 3.4 < coarse / fine < 4.2


def test_without_a_last_step_of_its_own_the_documented_sampler_is_worse():
    names = {}
    blocks = classes_blocks()
    exec(blocks[0], names)
    del names["Midpoint"].last
    for block in blocks[1:]:
        exec(block, names)
    assert 3e-4 < names["errors"](names["Midpoint"], [320])[0] < 5e-4


def in_tens(value):
    """2.4e-3, as people write it."""
    return f"{value:.1e}".replace("e-0", "e-")
