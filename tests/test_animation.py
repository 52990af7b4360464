"""From noise to data as a GIF: the right frames, of the samples that the sampler makes, for every sampler."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from toy_score import DDPM, EDM, VE, ExactDenoiser, Heart, LinearObservation, NCSNModule, plotting
from toy_score.plotting import animation, style
from toy_score.plotting.animation import moments
from toy_score.plotting.parts import observed
from toy_score.samplers import (
    AdaptiveDormandPrince,
    AnnealedLangevin,
    DDPMAncestral,
    Heun,
    Langevin,
    PredictorCorrector,
    RungeKutta4,
)

HEART = Heart()
SAMPLERS = {
    "RungeKutta4": (RungeKutta4(5), EDM(0.02, 500.0)),
    "AdaptiveDormandPrince": (AdaptiveDormandPrince(), EDM(0.02, 80.0)),
    "AnnealedLangevin": (AnnealedLangevin(20, n_levels=5), VE()),
    "Langevin": (Langevin(50, sigma=0.5), VE()),
    "DDPMAncestral": (DDPMAncestral(n_steps=60), DDPM()),
    "PredictorCorrector": (PredictorCorrector(Heun(8)), DDPM()),
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gif(content):
    """Frames of a GIF, as arrays, and their durations."""
    image = Image.open(io.BytesIO(content))
    frames, times = [], []
    for k in range(image.n_frames):
        image.seek(k)
        frames.append(np.asarray(image.convert("RGB")))
        times.append(image.info["duration"])
    return frames, times


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_is_shown_from_its_start_to_its_samples(name):
    sampler, schedule = SAMPLERS[name]
    paths = sampler.trajectory(ExactDenoiser(HEART, schedule), 30, generator())
    shown = moments(paths, HEART.bounds, 9)
    assert len(shown) == 9
    assert np.allclose(shown[-1].z, paths.x[-1], atol=1e-5)  # the samples themselves, the camera having arrived
    assert np.allclose(shown[0].z, paths.y[0] * shown[0].zoom, atol=1e-4)
    assert shown[-1].zoom == 1.0
    assert shown[-1].ratio == 0.0
    assert shown[0].ratio == pytest.approx(paths.ratio[0].item(), rel=1e-4)
    ratios = np.array([moment.ratio for moment in shown])
    assert (np.diff(ratios) <= 1e-9).all()
    if "Langevin" not in name:  # which stays at a level for many steps
        assert (np.diff(ratios) < 0).all()


def test_noise_and_data_stay_in_the_frame():
    """Noise of any level has a third of the half-width as its standard deviation, at least: 99.7% of it is seen."""
    paths = Heun(18).trajectory(ExactDenoiser(HEART, EDM(0.02, 500.0)), 2000, generator())
    for moment in moments(paths, HEART.bounds, 12):
        assert (np.abs(moment.z) < HEART.bounds).mean() > 0.99
        assert moment.z.std() > 0.5


@pytest.mark.parametrize("known", [True, False], ids=["truth known", "truth unknown"])
def test_the_gif_has_the_requested_frames_and_each_is_drawn_once(known, monkeypatch):
    drawn = []
    show = animation._View.show
    monkeypatch.setattr(animation._View, "show", lambda view, past: (drawn.append(len(past)), show(view, past)))
    truth = ExactDenoiser(HEART, EDM(0.02, 80.0))
    paths = RungeKutta4(5).trajectory(truth, 100, generator())
    more = {"exact": truth, "real": HEART.sample(50, generator())} if known else {}
    pictures = plotting.noise_to_data(truth, paths, "model on data", frames=5, **more)
    assert drawn == [1, 2, 3, 4, 5]  # the cost of an animation is its frames
    frames, times = gif(plotting.to_gif(pictures))
    assert len(frames) == 5
    assert {frame.shape for frame in frames} == {pictures[0].shape} == {(395, 640, 3)}
    assert times[-1] > times[0]
    for frame, picture in zip(frames, pictures, strict=True):  # a palette is not exact, but near
        assert np.abs(frame.astype(int) - picture.astype(int)).mean() < 6
    assert np.abs(frames[0].astype(int) - frames[-1].astype(int)).mean() > 3


def test_the_observation_of_a_posterior_moves_with_the_zoom():
    """In each frame the line is where clean points with the observed value are, and it is drawn."""
    truth, both = ExactDenoiser(HEART, EDM(0.02, 80.0)), LinearObservation([[1.0, 0.0], [0.5, 2.0]], [1.0, -0.6], 0.3)
    for zoom in (1.0, 0.01):
        for row, value, (ends, corners) in zip(both.matrix, both.value, observed(both, 4.0, zoom), strict=True):
            normal = torch.tensor(row, dtype=torch.float64)
            assert torch.allclose(ends @ normal, torch.full((2,), zoom * value, dtype=torch.float64), atol=1e-12)
            assert ((corners @ normal - zoom * value).abs() - 0.6 * zoom).abs().max() < 1e-12
            assert ends.norm(dim=1).min() > 4.0 * math.sqrt(2)  # beyond the corners of the picture
    paths = RungeKutta4(5).trajectory(truth, 50, generator())
    without, shown = (plotting.noise_to_data(truth, paths, "", frames=2, observation=o) for o in (None, both))
    for before, after in zip(without, shown, strict=True):
        changed = (before != after).any(axis=2)
        assert changed[:, :320].sum() > 300  # in the left panel
        assert not changed[:, 326:].any()


def test_the_score_of_an_exact_denoiser_is_called_exact(monkeypatch):
    words = []
    monkeypatch.setattr(animation, "_head", lambda ax, x, text, colour: words.append((text, colour)))
    truth = ExactDenoiser(HEART, EDM(0.02, 20.0))
    animation.noise_to_data(truth, RungeKutta4(3).trajectory(truth, 5, generator()), "", frames=2)
    assert words == [("generated", style.GENERATED), ("exact score, over the noisy density", style.EXACT)]


def test_a_single_frame_is_refused():
    truth = ExactDenoiser(HEART, VE())
    with pytest.raises(ValueError, match="at least 2 frames, got 1"):
        plotting.noise_to_data(truth, Heun(3).trajectory(truth, 5, generator()), "", frames=1)


def test_the_field_of_an_exact_denoiser_is_not_called_learned_and_exact_is_said_once():
    exact, network = ExactDenoiser(HEART, VE()), NCSNModule().denoiser
    assert animation.field_title(exact, exact) == "exact score, over the noisy density"
    assert animation.field_title(network, exact) == "learned score, over the exact noisy density"
    assert animation.field_title(network, None) == "learned score"
