"""Properties of what happens to points: noise and samples by row, distributions, units, files of points."""

import csv
import io
import itertools
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import assume, given, strategies as st
from properties import f32, f64, powers, tried

from toy_score.denoisers import ExactDenoiser
from toy_score.distributions import (
    Checkerboard,
    Circles,
    EightGaussians,
    FractalTree,
    GaussianMixture,
    Heart,
    Moons,
    NCSNMixture,
    Points,
    Rings,
    SplitNormal,
)
from toy_score.distributions.reading import read_table
from toy_score.requests import block_size, sample_requests
from toy_score.samplers import DDIM, EulerMaruyama, Heun, NoiseStream
from toy_score.schedules import VE
from toy_score.standardisation import Standardisation

seeds = st.integers(0, 2**62)

# Rows


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Blocks of eight rows, so that a few rows are several blocks."""
    with mock.patch("toy_score.samplers.base.block_size", return_value=8):
        yield


def pieces(cuts, n):
    """`(first, length)` of the pieces of 0 ... n - 1 between the cuts."""
    ends = sorted({0, n, *(cut for cut in cuts if cut < n)})
    return [(a, b - a) for a, b in itertools.pairwise(ends)]


cuts = st.lists(st.integers(1, 60), max_size=6)


@tried
@given(seed=seeds, first=st.integers(0, 40), n=st.integers(1, 60), cuts=cuts)
def test_the_noise_of_a_row_depends_on_seed_and_row_only(seed, first, n, cuts):
    whole, other = NoiseStream(seed, first, n), NoiseStream(seed + 1, first, n)
    parts = [NoiseStream(seed, first + a, m) for a, m in pieces(cuts, n)]
    for draw in ("normal", "uniform", "normal"):
        z = getattr(whole, draw)()
        assert torch.equal(torch.cat([getattr(part, draw)() for part in parts]), z)
        assert not (getattr(other, draw)() == z).any()
        assert len(z.unique()) == 2 * n


@tried
@given(
    seed=seeds,
    first=st.integers(0, 40),
    n=st.integers(1, 60),
    cuts=cuts,
    sampler=st.sampled_from([Heun(3), DDIM(4, 0.5), EulerMaruyama(4)]),
    p=st.sampled_from([Heart(), Checkerboard(), Rings()]),
)
def test_a_sample_depends_on_seed_and_row_only(seed, first, n, cuts, sampler, p):
    def sample(first, n):
        return sampler(ExactDenoiser(p, VE()), n, torch.Generator().manual_seed(seed), first)

    whole = sample(first, n)
    assert torch.equal(torch.cat([sample(first + a, m) for a, m in pieces(cuts, n)]), whole)


@tried
@given(total=st.integers(1, 10**7), seeds=st.lists(seeds, min_size=1, max_size=3, unique=True))
def test_requests_cover_every_row_of_every_seed_once_in_whole_blocks(total, seeds):
    block = block_size(torch.device("cpu"))
    for seed in seeds:
        requests = [r for r in sample_requests(total, seeds) if r.seed == seed]
        assert [r.first for r in requests] == [sum(r.n for r in requests[:k]) for k in range(len(requests))]
        assert sum(r.n for r in requests) == total
        assert all(r.first % block == 0 and r.n > 0 for r in requests)


# Distributions

DISTRIBUTIONS = [
    Heart(),
    SplitNormal(),
    Checkerboard(),
    Rings(),
    Circles(),
    EightGaussians(),
    NCSNMixture(),
    Moons(),
    FractalTree(depth=3),
    GaussianMixture(
        [[-2.0, 0.5], [1.0, -1.0], [1.5, 2.0]],
        covariances=[[[1.0, 0.8], [0.8, 0.7]], [[0.05, 0.0], [0.0, 1.0]], [[0.01, 0.015], [0.015, 0.03]]],
        weights=[5.0, 3.0, 2.0],
        classes=[1, 0, 1],
    ),
    Points(torch.tensor([[0.0, 0.0], [1.0, 2.0], [-3.0, 0.5]]), torch.tensor([0, 1, 1])),
]
METHODS = ("log_prob", "score", "denoise")
distributions = st.sampled_from(DISTRIBUTIONS)


def noisy(p, seed, sigma, n=20, dtype=f64):
    """Samples with noise of the level."""
    g = torch.Generator().manual_seed(seed)
    return (p.sample(n, g).double() + sigma * torch.randn(n, 2, generator=g, dtype=f64)).to(dtype)


@tried
@given(p=distributions, seed=seeds, sigma=powers(1e-3, 1e6))
def test_score_and_denoised_point_determine_each_other(p, seed, sigma):
    """Tweedie's formula, `E[x0 | x] = x + sigma^2 score`, and the denoised point is within reach of the data."""
    x = noisy(p, seed, sigma)
    mean, score = p.denoise(x, sigma), p.score(x, sigma)
    assert ((x + sigma**2 * score - mean).abs() <= 1e-10 * (1 + x.abs())).all()
    assert mean.abs().max() <= 6 * p.bounds


@tried
@given(p=distributions, seed=seeds, sigma=powers(1e-3, 1e6))
def test_the_whole_is_the_mixture_of_its_classes(p, seed, sigma):
    """`log p = log sum_k w_k p_k`; score and denoised point are the means over the classes given the noisy point."""
    assume(p.n_labels)
    x, classes = noisy(p, seed, sigma), [p.conditioned_on(k) for k in range(p.n_labels)]
    weights = torch.tensor(list(p.mode_weights.values()), dtype=f64).log()
    log_q = torch.stack([w + q.log_prob(x, sigma) for w, q in zip(weights, classes, strict=True)])
    assert torch.allclose(log_q.logsumexp(0), p.log_prob(x, sigma), rtol=1e-9, atol=1e-9)
    r = log_q.softmax(0)[:, :, None]
    for method, size in (("score", 1 / sigma), ("denoise", 1.0)):
        parts = torch.stack([getattr(q, method)(x, sigma) for q in classes])
        error = (torch.where(r > 0, r * parts, 0.0).sum(0) - getattr(p, method)(x, sigma)).abs()
        assert (error <= 1e-8 * (size + p.bounds + 1e-4 * x.abs())).all(), method


@tried
@given(
    p=distributions,
    seed=seeds,
    sigma=powers(1e-3, 1e6),
    n=st.integers(1, 9),
    dtype=st.sampled_from([f32, f64, torch.bfloat16]),
)
def test_answers_are_those_of_float64_rounded_once_row_by_row(p, seed, sigma, n, dtype):
    """Also for a single point, and with a noise level for each row."""
    x = noisy(p, seed, sigma, n, dtype)
    for method in METHODS:
        f = getattr(p, method)
        found, exact = f(x, sigma), f(x.double(), sigma)
        assert found.dtype == dtype
        assert torch.equal(found, exact.to(dtype))
        level = torch.full((n, 1), sigma, dtype=f64)
        each = f(x.double(), level)
        assert torch.allclose(each, exact, rtol=1e-9, atol=1e-9 * (1 + x.abs().max().item() / sigma))
        rows = torch.cat([f(x[i : i + 1].double(), sigma) for i in range(n)])
        assert torch.allclose(rows, exact, rtol=1e-9, atol=1e-9 * (1 + x.abs().max().item() / sigma))


# Units


@tried
@given(
    seed=seeds,
    n=st.integers(2, 50),
    mean=st.tuples(*[st.floats(-1e6, 1e6)] * 2),
    scale=st.tuples(*[powers(1e-3, 1e9)] * 2),
)
def test_standardised_points_have_mean_0_and_variance_1_and_come_back(seed, n, mean, scale):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=g, dtype=f64) * torch.tensor(scale) + torch.tensor(mean)
    units = Standardisation.of(x)
    z = units(x)
    tolerance = 1e-12 * (1 + (x.abs().amax(0) / x.std(0)))
    assert (z.mean(dim=0).abs() <= tolerance).all()
    assert ((z.std(dim=0) - 1).abs() <= tolerance).all()
    assert ((units.inverse(z) - x).abs() <= 1e-15 * (x.abs() + x.abs().amax(0))).all()
    for dtype, eps in ((f32, 2.0**-23), (torch.bfloat16, 2.0**-7)):
        low = z.to(dtype)
        assert units.inverse(low).dtype == dtype
        error = (units.inverse(low).double() - x).abs()
        assert (error <= eps * ((low.double().abs() + z.abs()) * x.std(0) + x.abs())).all()


# Files of points

numbers = st.one_of(
    st.floats(-1e3, 1e3, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-20),
    st.floats(-1e30, 1e30, allow_subnormal=False).filter(lambda v: v == 0 or abs(v) > 1e-25),
    st.integers(-999, 999).map(float),
)


@st.composite
def tables(draw):
    """A table as text, with its points: any separator, quotes, header, comments, line ends and decimal sign."""
    points = np.array(draw(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30)))
    assume(all(abs(column).max() > 0 for column in points.T))
    separator = draw(st.sampled_from([",", ";", "\t", " "]))
    decimal = draw(st.sampled_from([".", ","])) if separator != "," else "."
    header = draw(st.one_of(st.none(), st.just(["x", "y"]), st.just(["width (cm)", "height, in cm"])))
    style = draw(st.sampled_from(["%r", "%.17g", "%.20e"]))
    lines = io.StringIO()
    end = draw(st.sampled_from(["\n", "\r\n"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(lines, delimiter=separator, lineterminator=end, quoting=quoting)
    cells = [[(style % value).replace(".", decimal) for value in row] for row in points.tolist()]
    if header:
        writer.writerow(header)
    writer.writerows(cells)
    text = lines.getvalue()
    if draw(st.booleans()):
        text = f"# a comment{end}{text}"
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    return text, points, header


@tried
@given(table=tables(), bom=st.booleans())
def test_a_table_is_read_as_it_was_written(tmp_path_factory, table, bom):
    text, points, header = table
    path = tmp_path_factory.getbasetemp() / "table.csv"
    path.write_bytes(text.encode("utf-8-sig" if bom else "utf-8"))
    read = read_table(path)
    assert np.array_equal(read.x.numpy(), points)
    assert read.labels is None
    assert read.columns == (tuple(header) if header else ("x", "y"))


words = st.text(st.characters(codec="utf-8", categories=("Lu", "Ll", "Lo")), min_size=1, max_size=8)
plain = words.filter(lambda word: word.lower() not in ("nan", "inf", "infinity", "x", "y"))


@tried
@given(data=st.data(), seed=seeds, n=st.integers(2, 40), separator=st.sampled_from([",", ";", "\t"]))
def test_chosen_columns_rows_and_classes_are_those_of_the_table(tmp_path_factory, data, seed, n, separator):
    """Columns by name or number in any order, rows of one group, classes by their words."""
    rng = np.random.default_rng(seed)
    header = data.draw(st.lists(plain, min_size=5, max_size=5, unique=True))
    classes, groups = (data.draw(st.lists(plain, min_size=1, max_size=4, unique=True)) for _ in range(2))
    columns = [
        rng.normal(size=n),
        rng.choice(classes, n),
        rng.normal(size=n),
        rng.choice(groups, n),
        rng.normal(size=n),
    ]
    order = data.draw(st.permutations(range(5)))
    lines = [header, *zip(*columns, strict=True)]
    path = tmp_path_factory.getbasetemp() / "chosen.csv"
    path.write_text("\n".join(separator.join(str(line[k]) for k in order) for line in lines), encoding="utf-8")

    def key(k):
        return data.draw(st.sampled_from([header[k], order.index(k) + 1]))

    group = columns[3][0]
    table = read_table(path, columns=[key(4), key(0)], label_column=key(1), group_column=key(3), group=group)
    rows = columns[3] == group
    assert np.array_equal(table.x.numpy(), np.stack([columns[4], columns[0]], axis=1)[rows])
    assert [table.names[k] for k in table.labels.tolist()] == columns[1][rows].tolist()
    assert table.columns == (header[4], header[0])


@tried
@given(
    seed=seeds, n=st.integers(1, 60), dtype=st.sampled_from(["f2", "f4", "f8", ">f8", "i2", "i8", "u1"]), data=st.data()
)
def test_an_array_is_read_as_it_was_saved(tmp_path_factory, seed, n, dtype, data):
    x = (np.random.default_rng(seed).normal(size=(n, 2)) * 40 + 60).astype(dtype)
    x = np.asfortranarray(x) if data.draw(st.booleans()) else x
    labels = np.random.default_rng(seed + 1).integers(0, 3, n)
    folder = tmp_path_factory.getbasetemp()
    np.save(folder / "a.npy", x)
    np.savez(folder / "a.npz", x=x, labels=labels)
    assert np.array_equal(read_table(folder / "a.npy").x.numpy(), x)
    table = read_table(folder / "a.npz")
    assert np.array_equal(table.x.numpy(), x)
    assert [int(table.names[k]) for k in table.labels.tolist()] == labels.tolist()
