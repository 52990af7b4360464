"""Pictures: right, comparable from step to step, and there where one looks for them."""

import io

import lightning.pytorch as pl
import matplotlib as mpl
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from toy_score import (
    EDM,
    DDPMModule,
    EDMStochastic,
    EightGaussians,
    EulerMaruyama,
    ExactDenoiser,
    Heart,
    HeartDataModule,
    Heun,
    NCSNModule,
    Points,
    SplitNormal,
    plotting,
)
from toy_score.callbacks import EMA, Pictures
from toy_score.callbacks.pictures import averaged
from toy_score.metrics import Fields
from toy_score.plotting import style, visible_paths
from toy_score.plotting.paths import first_visible
from toy_score.samplers import Angular, AnnealedLangevin, RungeKutta4, StochasticMidpoint
from toy_score.schedules import DDPM, VE

DISTRIBUTIONS = [Heart(), SplitNormal()]
every = pytest.mark.parametrize("p", DISTRIBUTIONS, ids=repr)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def quiver_of(ax):
    return next(c for c in ax.collections if hasattr(c, "U"))


@every
def test_panels_are_square_fixed_and_titled(p):
    truth, x = ExactDenoiser(p, VE()), p.sample(100, generator())
    paths = Heun(5).trajectory(truth, 2, generator())
    figures = [
        plotting.samples(x, x, p, "model on data, step 7"),
        plotting.trajectories(paths, x, p, "model on data, step 7"),
        plotting.vector_field(truth, truth, [0.1, 1.0], p.bounds, "model on data, step 7"),
        plotting.summary(truth, truth, 0.1, x, x, paths, p, "model on data, step 7"),
    ]
    for figure in figures:
        assert figure.get_suptitle() == "model on data, step 7"
        for ax in figure.axes:
            assert ax.get_xlim() == ax.get_ylim() == (-p.bounds, p.bounds)
            assert ax.get_aspect() == 1
    titles = [ax.get_title() for ax in figures[2].axes]
    assert titles[0].startswith(r"learned, $\sigma$ = 0.1, error")
    assert titles[3] == r"exact, $\sigma$ = 1"


def test_the_picture_of_the_field_shows_its_curl_and_eigenvalues_on_scales_that_all_levels_share():
    truth = ExactDenoiser(Heart(), VE())
    found = Fields(truth)
    found.update(truth, Heart().sample(20, generator()), generator())
    figure = plotting.fields(truth, truth, found.summary(), "model on data")
    curls, eigenvalues = ([ax.images[0] for ax in figure.axes[3 * row : 3 * row + 3]] for row in (0, 1))
    assert max(np.abs(image.get_array()).max() for image in curls) < 1e-5
    assert min(image.get_array().min() for image in eigenvalues) > -1e-4
    assert len({image.get_clim() for image in curls}) == len({image.get_clim() for image in eigenvalues}) == 1
    flows = [ax.collections[0] for ax in figure.axes[6:8]]
    assert np.array_equal(flows[0].get_array(), flows[1].get_array())


def test_figures_are_not_registered_with_pyplot():
    import sys

    before = "matplotlib.pyplot" in sys.modules and sys.modules["matplotlib.pyplot"].get_fignums()
    plotting.samples(torch.zeros(1, 2), torch.zeros(1, 2), Heart(), "")
    after = "matplotlib.pyplot" in sys.modules and sys.modules["matplotlib.pyplot"].get_fignums()
    assert before == after


@every
@pytest.mark.parametrize("sigma", [0.02, 2.0])
def test_arrows_point_along_the_score_and_are_alike_for_every_schedule(p, sigma):
    fields = []
    for schedule in (VE(), DDPM()):
        figure = plotting.vector_field(ExactDenoiser(p, schedule), None, [sigma], p.bounds, "")
        quiver = quiver_of(figure.axes[0])
        arrows = np.stack([quiver.U, quiver.V], axis=1)
        score = p.score(torch.tensor(np.asarray(quiver.get_offsets()), dtype=torch.float32), sigma).numpy()
        assert np.isfinite(arrows).all()
        assert (np.linalg.norm(arrows, axis=1) <= 1).all()
        far = np.linalg.norm(score, axis=1) > 1e-3  # not in the middle, where the score vanishes
        arrows, score = arrows[far], score[far]
        cosine = (arrows * score).sum(1) / (np.linalg.norm(arrows, axis=1) * np.linalg.norm(score, axis=1) + 1e-12)
        assert cosine.min() > 0.999
        fields.append(arrows)
    assert np.allclose(*fields, atol=2e-3)


def test_the_error_in_a_title_is_that_of_the_field():
    class Half(ExactDenoiser):
        def score(self, x, t):
            return 0.5 * super().score(x, t)

    p, schedule = Heart(), VE()
    figure = plotting.vector_field(Half(p, schedule), ExactDenoiser(p, schedule), [1.0], p.bounds, "")
    expected = 0.25 * 1.09221849 / 2  # a quarter of sigma^2 E|score|^2 / 2
    assert float(figure.axes[0].get_title().split()[-1]) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("error", "factor"), [(0.0024, 200), (0.02, 20), (3.0, 1), (0.0, 5000)])
def test_the_difference_of_the_fields_is_drawn_magnified_by_the_factor_in_its_title(error, factor):
    """A constant error `(error, 0)` of the score, seen as `v = 2 error` at a noise level of 2: the factor is the
    largest of 1, 2, 5, 10, ... 5000 with `factor |v| <= 1`."""

    class Shifted(ExactDenoiser):
        def score(self, x, t):
            return super().score(x, t) + torch.tensor([error, 0.0])

    p, schedule = Heart(), VE()
    figure = plotting.vector_field(Shifted(p, schedule), ExactDenoiser(p, schedule), [2.0], p.bounds, "")
    ax = figure.axes[2]
    assert ax.get_title() == rf"difference $\times$ {factor}, $\sigma$ = 2"
    quiver, v = quiver_of(ax), 2.0 * factor * error
    assert np.allclose(quiver.U, v / np.sqrt(1.0 + v**2), atol=1e-4)
    assert np.allclose(quiver.V, 0.0, atol=1e-4)


def test_the_sample_panel_shows_both_clouds_and_the_shares():
    real, generated = Heart().sample(200, generator()), Heart().sample(150, generator(1)).abs()
    ax = plotting.samples(generated, real, Heart(), "").axes[0]
    clouds = {c.get_label(): c for c in ax.collections}
    assert np.allclose(clouds["real"].get_offsets(), real)
    assert np.allclose(clouds["generated"].get_offsets(), generated)
    assert style.REAL != style.GENERATED
    assert ax.texts[0].get_text() == "left 0.000   right 1.000"
    assert len(ax.lines) == 20  # ten circles in two pieces


@pytest.mark.parametrize("p", [Heart(), SplitNormal()], ids=lambda p: p.name)
def test_the_key_hides_no_digit_of_the_shares(p):
    ax = plotting.samples(p.sample(100), p.sample(100), p, "").axes[0]
    canvas = FigureCanvasAgg(ax.figure)
    canvas.draw()
    shares, key = (artist.get_window_extent(canvas.get_renderer()) for artist in (ax.texts[0], ax.get_legend()))
    assert shares.x1 < key.x0


def test_shares_of_more_modes_than_fit_are_left_out():
    p = EightGaussians()
    ax = plotting.samples(p.sample(50), p.sample(50), p, "eight").axes[0]
    assert not ax.texts


def lines_of(paths):
    return plotting.trajectories(paths, paths.x[-1], Heart(), "").axes[0].lines


def test_a_trajectory_leaves_out_its_beginning_and_marks_where_it_begins_and_ends():
    truth = ExactDenoiser(Heart(), VE(0.01, 5.0))
    paths = AnnealedLangevin().trajectory(truth, 2, generator(), skip=250)
    assert len(paths.x) == 1001 - 250
    lines = {line.get_label(): line for line in lines_of(paths)}
    assert np.allclose(lines["trajectory"].get_xydata(), paths.x[:, 0])
    assert np.allclose(lines[rf"from $\sigma$ = {paths.ratio[0]:.3g}"].get_xydata(), paths.x[0, :1])
    assert np.allclose(lines["its end"].get_xydata(), paths.x[-1, :1])
    for marker, ends in (("o", paths.x[0]), ("x", paths.x[-1])):  # of the further paths as well
        drawn = [line.get_xydata() for line in lines_of(paths) if line.get_marker() == marker]
        assert np.allclose(np.concatenate(drawn), ends)


def test_the_key_of_a_trajectory_names_no_beginning_that_is_outside_the_picture():
    paths = Heun(8).trajectory(ExactDenoiser(Heart(), EDM(0.02, 500.0)), 3, generator())
    named = {line.get_label() for line in lines_of(paths)}
    assert {"trajectory", "its end"} <= named
    assert not any("sigma" in name for name in named)


def fit(tmp_path, model, *callbacks, steps=40, ema=False):
    logger = TensorBoardLogger(tmp_path, name="run", default_hp_metric=False)
    trainer = pl.Trainer(
        max_steps=steps,
        max_epochs=-1,
        logger=logger,
        callbacks=[*callbacks, *([EMA()] if ema else [])],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        accelerator="cpu",
    )
    trainer.fit(model, HeartDataModule(batch_size=64, n_train=6400, n_val=64))
    return trainer


@pytest.mark.parametrize(
    "model", [NCSNModule(sampler=AnnealedLangevin(1)), DDPMModule(sampler=Heun(4))], ids=["NCSN", "DDPM"]
)
def test_pictures_reach_tensorboard_and_the_folder_of_the_run(model, tmp_path, capsys):
    torch.manual_seed(3)
    trainer = fit(tmp_path, model, Pictures(every_n_steps=20, n_samples=100, frames=6), ema=True)
    events = EventAccumulator(trainer.log_dir, size_guidance={"images": 0})
    events.Reload()
    images = {tag: [(e.step, e.encoded_image_string) for e in events.Images(tag)] for tag in events.Tags()["images"]}
    assert {"samples_and_trajectories", "vector_field", "score_error", "noise_to_data"} == set(images)
    for tag in ("samples_and_trajectories", "vector_field", "score_error"):
        assert [step for step, _ in images[tag]] == [0, 20, 40]
        sizes = {Image.open(io.BytesIO(png)).size for _, png in images[tag]}
        assert len(sizes) == 1
        width, height = next(iter(sizes))
        assert height >= 300
        assert 1.3 < width / height < 2.0  # as the card of a dashboard
    for tag in images:
        kind = "gif" if tag == "noise_to_data" else "png"
        kept = (tmp_path / "run/version_0/pictures" / f"{tag}.{kind}").read_bytes()
        assert kept == images[tag][-1][1]
    for name in ("samples", "trajectory", "summary"):  # for papers and slides; the board has them in one
        assert (tmp_path / "run/version_0/pictures" / f"{name}.png").is_file()
    assert Image.open(io.BytesIO(images["noise_to_data"][0][1])).n_frames == 6
    assert len(images["noise_to_data"]) == 1  # at the end only
    assert "drawing:" in capsys.readouterr().out
    assert events.Scalars("time/pictures_seconds")[0].value > 0


def test_the_score_error_is_drawn_over_the_whole_training_also_of_a_resumed_run():
    """The newest curve in full, those before it paler the older; what a checkpoint keeps of them is plain numbers."""
    pictures = Pictures()
    pictures.errors = {0: [1.0, 0.9], 20: [0.1, 0.2]}
    resumed = Pictures()
    resumed.load_state_dict(torch.load(saved(pictures.state_dict()), weights_only=True))
    resumed.errors[40] = [0.01, 0.02]
    ax = plotting.score_errors([0.1, 1.0], resumed.errors, "model on data, step 40").axes[0]
    *earlier, last = [line for line in ax.lines if line.get_label().startswith("step")]
    assert [line.get_label() for line in (*earlier, last)] == ["step 0", "step 20", "step 40"]
    assert np.allclose(last.get_ydata(), [0.01, 0.02])
    pale = [sum(to_rgb(line.get_color())) for line in (*earlier, last)]
    assert pale == sorted(pale, reverse=True)
    assert last.get_color() == style.LEARNED


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return buffer


def test_drawing_does_not_change_the_training(tmp_path):
    weights = []
    for callbacks in ([Pictures(every_n_steps=10, n_samples=10, frames=0)], []):
        torch.manual_seed(0)
        model = NCSNModule(sampler=AnnealedLangevin(1))
        fit(tmp_path, model, *callbacks, steps=20)
        weights.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


def test_the_averaged_weights_are_drawn(tmp_path):
    seen = []

    class Spy(Pictures):
        def _draw(self, trainer, model, folder=None):
            seen.append(model is trainer.lightning_module)

    trainer = fit(tmp_path, NCSNModule(), Spy(every_n_steps=20), ema=True)
    assert seen == [False] * 3
    assert averaged(trainer, trainer.lightning_module) is not trainer.lightning_module


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"every_n_steps": 0}, "every_n_steps must be at least 1, got 0"),
        ({"n_samples": 0}, "n_samples must be at least 1, got 0"),
        ({"frames": 1}, "frames must be at least 2, or 0 for no animation, got 1"),
        ({"skip": -1}, "skip must be at least 0, got -1"),
        ({"sigmas": [0.1, -1.0]}, r"got \[0.1, -1.0\]"),
    ],
)
def test_impossible_settings_are_refused_with_the_value(arguments, words):
    with pytest.raises(ValueError, match=words):
        Pictures(**arguments)


@pytest.mark.parametrize("sampler", [StochasticMidpoint(48, Angular(0.3)), RungeKutta4(8)], ids=repr)
def test_a_trajectory_is_drawn_from_where_its_noise_fits_into_the_picture(sampler):
    """From a quarter of the half width on: neither as a cloud of noise nor, with few steps, as its last end alone."""
    schedule, widest = VE(0.01, 20.0), Heart().bounds / 4
    first, levels = first_visible(sampler, schedule, widest), sampler.levels(schedule)
    assert levels[first - 1].ratio > widest >= levels[first].ratio


def test_the_few_steps_of_a_solver_are_drawn_as_the_flow_that_it_follows():
    """Fine, from the edge of the picture on, and ending where the solver ends, up to its error."""
    truth, sampler, bounds = ExactDenoiser(Heart(), EDM(0.02, 500.0)), RungeKutta4(16, Angular(0.3)), Heart().bounds
    drawn = visible_paths(sampler, truth, 2, generator(), bounds)
    assert len(drawn.x) > 60
    assert 0.8 * bounds < drawn.ratio[0] <= bounds
    steps = (drawn.x[1:] - drawn.x[:-1]).norm(dim=-1)
    assert steps.max() < 0.15 * bounds
    assert torch.allclose(drawn.x[-1], sampler(truth, 12, generator()), atol=0.05)


@pytest.mark.parametrize("sampler", [EDMStochastic(20), StochasticMidpoint(20), EulerMaruyama(20)], ids=repr)
def test_the_random_steps_of_a_sampler_are_drawn_as_they_are(sampler):
    truth = ExactDenoiser(Heart(), VE(0.01, 20.0))
    drawn = visible_paths(sampler, truth, 2, generator(), 4.0)
    whole = sampler.trajectory(truth, 2, generator())
    assert torch.equal(drawn.x, whole.x[-len(drawn.x) :])


def test_samples_that_are_outside_or_not_finite_are_counted_in_the_picture():
    x = Heart().sample(100, generator())
    x[:30] += 50.0
    x[30:35] = float("nan")
    words = [text.get_text() for text in plotting.samples(x, x[35:], Heart(), "").axes[0].texts]
    assert "of 100 samples, 5 not finite and 30 outside" in words
    assert len(plotting.samples(x[35:], x[35:], Heart(), "").axes[0].texts) == 1  # the shares of the modes


def test_the_end_of_a_trajectory_that_left_the_picture_is_not_silent():
    paths = Heun(5).trajectory(ExactDenoiser(Heart(), VE()), 1, generator())
    paths.x[-1] = 100.0
    words = [text.get_text() for text in plotting.trajectories(paths, None, Heart(), "").axes[0].texts]
    assert words == ["the trajectory ends outside"]


def test_the_field_of_points_is_drawn_over_the_points():
    p = Points(Heart().sample(50, generator()))
    truth = ExactDenoiser(p, VE())
    ax = plotting.vector_field(truth, None, [0.5], p.bounds, "", real=p.points).axes[0]
    clouds = {c.get_label(): c for c in ax.collections}
    assert np.allclose(clouds["real"].get_offsets(), p.points)


def test_up_to_five_curves_of_the_score_error_are_all_in_the_key():
    for n in (2, 5, 8):
        ax = plotting.score_errors([0.1, 1.0], {k: [1.0, 0.5] for k in range(n)}, "").axes[0]
        named = [text.get_text() for text in ax.get_legend().get_texts() if text.get_text().startswith("step")]
        assert named == [f"step {k}" for k in (range(n) if n <= 5 else (0, n - 2, n - 1))]


def test_the_letters_of_all_figures_grow_with_the_font_size_of_matplotlib():
    p = Heart()
    truth, x = ExactDenoiser(p, VE()), p.sample(50, generator())

    def sizes(font_size):
        line = plotting.Line("Heun", [4, 8], [2.0, 1.0], "#1b9e8f")
        with mpl.rc_context({"font.size": font_size}):
            figures = [
                plotting.vector_field(truth, None, [0.1, 1.0, 2.0], p.bounds, "A title"),
                plotting.pairs({"one": (x, x)}, "A title"),
                plotting.comparison([plotting.Panel("heart", [line], 0.1)], "evaluations", "A title"),
            ]
            titles = [figure.texts[0].get_fontsize() for figure in figures]  # the first is that of the figure
            ticks = [figure.axes[0].get_xticklabels()[0].get_fontsize() for figure in figures]
            return figures, titles, ticks

    (small, titles, ticks), (large, titles_of_large, ticks_of_large) = sizes(10), sizes(20)
    assert (titles, ticks) == ([12, 12, 12], [7, 7, 8])  # as they always were at the default
    assert titles_of_large == [24, 24, 24]
    assert ticks_of_large == [14, 14, 16]
    for before, after in zip(small, large, strict=True):
        panels = [f.axes[0].get_position().width * f.get_figwidth() for f in (before, after)]
        assert panels[1] == pytest.approx(panels[0])  # room for letters is added around the panels


def test_a_pdf_has_no_fonts_of_type_3_which_some_journals_refuse():
    figure = plotting.plot(VE())
    contents = plotting.to_file(figure, "pdf")
    assert b"/Type0" in contents
    assert b"/Type3" not in contents
