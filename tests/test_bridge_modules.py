"""Models of bridges: training on pairs, checkpoints, and the commands."""

import json
import sys

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from toy_score import (
    MLP,
    BridgeModule,
    BridgeSDE,
    EightGaussians,
    EightGaussiansDataModule,
    EntropicTransport,
    Euler,
    EulerMaruyama,
    ExactBridge,
    GaussianBridge,
    GaussianMixture,
    GaussianMixtureDataModule,
    Heun,
    IndependentCoupling,
    LinearObservation,
    MapMLP,
    Moons,
    OptimalTransport,
    SchrodingerBridgeModule,
    ScoreModule,
    Trailing,
    __main__ as entry,
    plotting,
)
from toy_score.metrics import follow
from toy_score.modules.pairs import PairPool, of_flow, paired, pairs_of_data
from toy_score.samplers import NoiseStream


def small(**arguments):
    return {"backbone": MLP((16,)), "sampler": Euler(5, Trailing())} | arguments


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def data(**arguments):
    return EightGaussiansDataModule(**{"batch_size": 64, "n_train": 640, "n_val": 256, "steps_at_once": 5} | arguments)


def trainer_of(folder, steps, **arguments):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        default_root_dir=folder,
        accelerator="cpu",
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        **quiet,
        **arguments,
    )


def ot_model(**arguments):
    torch.manual_seed(0)
    return BridgeModule(Moons(), OptimalTransport(32), n_pairs=640, **small(**arguments))


def weights(model):
    return torch.cat([w.flatten() for w in model.parameters()]).detach()


# Pairs


def test_a_pool_holds_the_first_points_of_the_data_each_once_and_draws_each_pair_once_an_epoch():
    source = data()
    pool = PairPool(*pairs_of_data(source.batch, Moons(), OptimalTransport(32), 600, 0), 0)
    batches = [pool(k, 60) for k in range(10)]
    drawn = torch.cat([x0 for x0, _ in batches])
    first = torch.cat([source.batch(k).x for k in range(10)])[:600]
    assert torch.equal(drawn[drawn[:, 0].argsort()], first[first[:, 0].argsort()])
    assert torch.equal(pool(3, 60)[1], batches[3][1])  # a pure function of the step
    assert not torch.equal(pool(13, 60)[1], batches[3][1])  # another order in the next epoch
    cost = sum((x0 - x1).square().sum().item() for x0, x1 in batches)
    x1 = torch.cat([x1 for _, x1 in batches])
    assert cost < 0.7 * (drawn - x1[torch.randperm(600, generator=generator())]).square().sum().item()


def test_a_pool_smaller_than_a_batch_repeats_its_pairs():
    pool = PairPool(*pairs_of_data(data().batch, Moons(), OptimalTransport(32), 40, 0), 0)
    x0, x1 = pool(7, 64)
    assert x0.shape == x1.shape == (64, 2)
    assert len(x0.unique(dim=0)) == 40


def test_training_on_pairs_is_the_same_again_and_after_a_resume(tmp_path):
    runs = []
    for _ in range(2):
        model = ot_model()
        trainer_of(tmp_path, 12).fit(model, data())
        runs.append(weights(model))
    assert torch.equal(*runs)
    half = trainer_of(tmp_path, 5)
    half.fit(ot_model(lr_schedule=constant()), data())
    half.save_checkpoint(tmp_path / "half.ckpt")
    resumed, whole = ot_model(lr_schedule=constant()), ot_model(lr_schedule=constant())
    trainer_of(tmp_path, 12).fit(resumed, data(), ckpt_path=tmp_path / "half.ckpt")
    trainer_of(tmp_path, 12).fit(whole, data())
    assert torch.allclose(weights(resumed), weights(whole), atol=1e-7)


def constant():
    from toy_score.modules import Constant

    return Constant()


def test_training_lowers_the_error_of_the_velocity(tmp_path):
    torch.manual_seed(0)
    model = BridgeModule(Moons(), **small(backbone=MLP((32, 32), "silu")))
    trainer = trainer_of(tmp_path, 300)
    trainer.fit(model, data(batch_size=256, n_train=25_600))
    error = float(trainer.callback_metrics["val/velocity_error"])
    exact = model.exact_bridge
    assert isinstance(exact, ExactBridge)
    assert error < 0.5  # 1 for a network that says 0


def test_score_and_flow_matching_learns_the_exact_bridge_between_gaussians_and_needs_its_pairs(tmp_path):
    """Trained on entropic pairs of 128 points; the twin is trained on pairs of a much larger epsilon."""
    ends = {"means": [[1.0, 2.0]], "covariances": [[[1.0, 0.3], [0.3, 0.5]]]}
    source = GaussianMixture([[-1.0, 0.0]], covariances=[[[0.4, -0.1], [-0.1, 0.9]]])
    exact = GaussianBridge(GaussianMixture(**ends), source, 0.8, BridgeModule().schedule)

    def errors(epsilon):
        torch.manual_seed(0)
        pairs = EntropicTransport(epsilon, 128)
        network = {"backbone": MLP((32, 32), "silu"), "sampler": Euler(20, Trailing())}
        model = SchrodingerBridgeModule(0.8, source, pairs, n_pairs=12_800, **network)
        trainer = trainer_of(tmp_path, 300, limit_val_batches=0)
        trainer.fit(model, GaussianMixtureDataModule(**ends, batch_size=256, n_train=25_600, steps_at_once=5))
        x = exact.sample(0.5, 2000, generator())
        learned, true = model.denoiser.parts(x, 0.5), exact.parts(x, 0.5)
        return [((a - b).square().sum() / b.square().sum()).item() for a, b in zip(learned, true, strict=True)], model

    (of_mean, of_score), model = errors(epsilon=2 * 0.8**2)
    assert of_mean < 0.005
    assert of_score < 0.03
    assert model.exact_bridge == exact
    (of_mean, of_score), model = errors(epsilon=50.0)
    assert max(of_mean, of_score) > 0.05
    assert model.exact_bridge is None


def test_batches_of_a_loader_of_ones_own_are_paired_when_they_come(tmp_path):
    model = ot_model()
    loader = torch.utils.data.DataLoader(EightGaussians().sample(256, generator()), batch_size=64)
    trainer = trainer_of(tmp_path, 4, limit_val_batches=0)
    trainer.fit(model, loader)
    assert trainer.global_step == 4


def test_pairs_have_the_marginals_of_the_two_ends():
    x0 = EightGaussians().sample(4096, generator())
    for coupling in (IndependentCoupling(), OptimalTransport(64), EntropicTransport(1.0, 64)):
        y0, y1 = paired(x0, Moons(), coupling, generator(1))
        assert torch.equal(y0, x0)
        # 4096 points of the moons, some of them twice: within 6 standard errors for twice the variance
        difference = y1.double().mean(dim=0) - Moons().reference(8192).mean(dim=0)
        assert (difference.abs() < 6 * (2 * y1.double().var(dim=0) / 4096).sqrt()).all()


def test_the_pairs_of_a_flow_are_its_samples_and_where_they_started():
    exact, sampler = ExactBridge(EightGaussians(), Moons(std=0.5), BridgeModule().schedule), Heun(10, Trailing())
    x0, x1 = of_flow(exact, sampler, 300, 0)
    assert torch.equal(x0, sampler(exact, 300, generator()))
    ends = sampler.walk(exact, exact.schedule.prior_sigma * x1, NoiseStream(0, 0, 300))
    assert torch.allclose(ends, x0, atol=1e-4)
    with pytest.raises(ValueError, match="are made by a solver of the flow, not by BridgeSDE"):
        of_flow(exact, BridgeSDE(5), 10, 0)


def test_a_flow_on_the_pairs_of_a_flow_is_straighter(tmp_path):
    """Rectified flow, from a curved flow between two Gaussian clusters and two others across them."""
    ends = {"means": [[-2.0, -2.0], [2.0, 2.0]], "stds": 0.3}
    source = GaussianMixture([[-2.0, 2.0], [2.0, -2.0]], 0.3)

    def trained(name, **arguments):
        torch.manual_seed(0)
        model = BridgeModule(source, **small(backbone=MLP((32, 32), "silu"), **arguments))
        trainer = trainer_of(tmp_path, 300, limit_val_batches=0)
        trainer.fit(model, GaussianMixtureDataModule(**ends, batch_size=256, n_train=25_600))
        trainer.save_checkpoint(tmp_path / name)
        x1 = source.sample(1000, generator())
        x0, energy = follow(model.denoiser, x1)
        return 1.0 - ((x1 - x0).square().sum(dim=1).mean() / energy.mean()).item()

    first = trained("first.ckpt")
    second = trained("second.ckpt", reflow=str(tmp_path / "first.ckpt"), n_pairs=4096)
    assert second < 0.5 * first
    with pytest.raises(ValueError, match="give both the same source and data"):
        BridgeModule(reflow=str(tmp_path / "first.ckpt"), **small())._of_flow(10, 0)
    with pytest.raises(ValueError, match="leave out one"):
        BridgeModule(coupling=OptimalTransport(), reflow="first.ckpt")


# What is known


def test_the_exact_bridge_is_known_where_the_coupling_has_a_closed_form(tmp_path):
    one = GaussianMixture([[1.0, 2.0]], 0.5)
    known = GaussianMixtureDataModule([[1.0, 2.0]], 0.5, n_val=8).known()
    line = BridgeModule().schedule
    cases = [
        (BridgeModule(Moons(), **small()), ExactBridge(one, Moons(), line)),
        (
            BridgeModule(coupling=OptimalTransport(), **small()),
            GaussianBridge(one, sigma=0.0, schedule=line),
        ),
        (BridgeModule(Moons(), OptimalTransport(), **small()), None),
        (SchrodingerBridgeModule(**small()), GaussianBridge(one, sigma=1.0, schedule=line)),
        (SchrodingerBridgeModule(0.5, **small()), None),  # the pairs are those of another sigma
    ]
    for model, expected in cases:
        model.adopt(known)
        model.data = known
        assert model.exact_bridge == expected
        assert model.truth is None


def test_the_doctor_names_what_is_wrong_with_a_bridge():
    known = data().known()
    model = SchrodingerBridgeModule(0.5, schedule=BridgeModule().schedule, **small())
    model.data = known
    findings = {f.name: f for f in model.doctor()}
    assert not findings["epsilon"].good
    assert "use EntropicTransport(epsilon=0.5)" in str(findings["epsilon"])
    assert findings["start"].good
    from toy_score import LinearFlow

    short = BridgeModule(Moons(), OptimalTransport(64), schedule=LinearFlow(1e-3, 10.0), **small())
    short.data = known
    findings = {f.name: f for f in short.doctor()}
    assert not findings["start"].good
    assert "use sigma_max" in str(findings["start"])
    assert findings["coupling"].good
    two = BridgeModule(Moons(), OptimalTransport(2), **small())
    two.data = known
    assert not {f.name: f for f in two.doctor()}["coupling"].good


# What is refused


def test_what_needs_gaussian_noise_is_refused_in_one_line():
    observation = LinearObservation([[1.0, 0.0]], [1.0], 0.3)
    for wrong, words in (
        (lambda: BridgeModule(observation=observation), "guidance and observations need Gaussian noise"),
        (lambda: BridgeModule(sampler=EulerMaruyama()), "EulerMaruyama removes Gaussian noise"),
        (lambda: BridgeModule(sampler=BridgeSDE()), "BridgeSDE needs a Schroedinger bridge"),
        (lambda: BridgeModule(coupling=OptimalTransport(), backbone=MLP(n_labels=2)), "come from a part of the source"),
        (lambda: BridgeModule(n_pairs=0), "n_pairs must be at least 1"),
        (lambda: SchrodingerBridgeModule(sigma=0.0), "sigma must be positive"),
        (
            lambda: BridgeModule(backbone=MapMLP),
            r"one time, MapMLP on two; choose --model\.backbone MLP",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()


# The commands


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Checkpoints of a few steps of training, and the folder."""
    folder = tmp_path_factory.mktemp("bridges")
    torch.manual_seed(0)
    models = {
        "independent": BridgeModule(Moons(std=0.5), **small()),
        "schroedinger": SchrodingerBridgeModule(1.0, Moons(), EntropicTransport(2.0, 32), n_pairs=640, **small()),
    }
    for name, model in models.items():
        trainer = trainer_of(folder, 5)
        trainer.fit(model, data())
        trainer.save_checkpoint(folder / f"{name}.ckpt")
    return folder


@pytest.fixture
def command(runs, tmp_path, monkeypatch, capsys):
    """A command in an empty folder: its exit code, what it printed, and its errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["toy_score"])

    def run(*argv):
        capsys.readouterr()
        code = 0
        try:
            entry.main([str(a) for a in argv])
        except SystemExit as stop:
            code = stop.code
        return (code, *capsys.readouterr())

    return run


def test_a_checkpoint_gives_the_same_model_and_samples_again(runs):
    for name in ("independent", "schroedinger"):
        model = ScoreModule.load_from_checkpoint(runs / f"{name}.ckpt")
        again = ScoreModule.load_from_checkpoint(runs / f"{name}.ckpt")
        assert torch.equal(model.sample(50), again.sample(50))
        assert model.denoiser.source == model.source
        assert torch.isfinite(model.log_prob(model.sample(4))).all()
    assert isinstance(model, SchrodingerBridgeModule)
    assert torch.isfinite(model.sample(50, sampler=BridgeSDE(5))).all()


def test_predict_and_test_work_from_the_checkpoint(runs, command, tmp_path):
    assert command("predict", "--ckpt_path", runs / "independent.ckpt", "--n_samples", 60, "--output", "x.npy")[0] == 0
    assert np.load("x.npy").shape == (60, 2)
    code, said, _ = command("test", "--ckpt_path", runs / "independent.ckpt", "--output", "m.json", "--n_samples", 300)
    assert code == 0
    assert "Error of the velocity" in said
    assert "normalised path energy" in said
    assert "--budget" not in said
    figures = json.loads((tmp_path / "m.json").read_text())["bridge"]
    assert len(figures["velocity_error"]) == 5
    assert all(0 < e < 2 for e in figures["velocity_error"])
    sde = ("--model.sampler", "BridgeSDE", "--model.sampler.n_steps", 5)
    code, said, _ = command(
        "test", "--ckpt_path", runs / "schroedinger.ckpt", "--output", "s.json", "--n_samples", 300, *sde
    )
    assert code == 0
    assert "Error of the velocity" not in said  # not known for these ends


def test_fit_keeps_the_pictures_of_a_bridge_and_names_only_commands_that_take_it(command, tmp_path):
    few = ("--trainer.max_steps", 2, "--model.n_pairs", 512, "--data.n_val", 64, "--trainer.accelerator", "cpu")
    code, said, error = command("fit", "--config", "flow_moons_to_eight_gaussians", *few)
    assert code == 0, error
    (run,) = tmp_path.glob("lightning_logs/*/version_0")
    pictures = {path.stem for path in (run / "pictures").iterdir()}
    assert {"samples", "trajectory", "velocity_field", "pairs"} <= pictures
    assert not {"vector_field", "score_error", "noise_to_data"} & pictures
    assert "toy_score test --ckpt_path" in said
    assert "toy_score play" not in said


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("predict", "--output", "x.gif"), "animations begin with Gaussian noise"),
        (("predict", "--output", "x.npy", "--model.sampler", "EulerMaruyama"), "choose a solver of the flow"),
        (("test", "--output", "m.json", "--fields", "true"), "leave out fields"),
        (("predict", "--output", "x.npy", "--model.guidance", "2"), "needs a label"),
    ],
)
def test_wrong_requests_are_one_line_and_exit_code_2(argv, words, runs, command):
    code, _, error = command(argv[0], "--ckpt_path", runs / "independent.ckpt", "--n_samples", 50, *argv[1:])
    assert code == 2
    assert words in error
    assert len(error.strip().splitlines()) == 1


def test_compare_and_the_page_refuse_a_bridge_in_one_line(runs, command):
    for argv, words in (
        (("compare", "--output", "c", runs / "independent.ckpt"), "measure it with test"),
        (("play", runs / "independent.ckpt", "--output", "p.html"), "measure it with test"),
    ):
        code, _, error = command(*argv)
        assert code == 2, error
        assert words in error


def test_pictures_of_a_bridge_show_velocity_pairs_and_paths(runs):
    model = ScoreModule.load_from_checkpoint(runs / "independent.ckpt")
    figure = model.plot_velocity((0.2, 0.8))
    assert len(figure.axes) == 4  # learned above exact
    assert len(model.plot_trajectories().axes) == 1
    with pytest.raises(ValueError, match="a bridge has times, not noise levels"):
        model.plot_field((0.5,))
    final = model.bridge_figures(model.denoiser, EightGaussians().sample(300, generator()), "t", True)
    assert set(final) == {"velocity_field", "pairs"}


def test_the_key_of_pairs_and_paths_is_below_the_panels_and_hides_no_point(runs):
    model = ScoreModule.load_from_checkpoint(runs / "independent.ckpt")
    pairs = model.bridge_figures(model.denoiser, EightGaussians().sample(300, generator()), "t", True)["pairs"]
    paths = Euler(5, Trailing()).trajectory(model.denoiser, 20, generator())
    for figure in (pairs, plotting.bridge_paths({"paths": paths}, paths.x[0], paths.x[-1], "t")):
        plotting.to_png(figure)  # draws
        (key,) = figure.legends
        assert key.get_window_extent().y1 <= min(ax.get_window_extent().y0 for ax in figure.axes)
        assert all(ax.get_legend() is None for ax in figure.axes)
