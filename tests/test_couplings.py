"""Couplings: their marginals, the optimality that defines them, and that a planted error is found."""

import itertools

import pytest
import torch

from toy_score import EntropicTransport, IndependentCoupling, OptimalTransport
from toy_score.couplings import entropic
from toy_score.couplings.base import square_costs
from toy_score.couplings.entropic import sinkhorn

f64 = torch.float64
COUPLINGS = [IndependentCoupling(), OptimalTransport(16), EntropicTransport(0.5, 16)]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def ends(n, seed=0):
    g = generator(seed)
    return torch.randn(n, 2, generator=g, dtype=f64), 2.0 * torch.randn(n, 2, generator=g, dtype=f64) + 1.0


def cost(x0, x1, rows):
    return (x0[rows[0]] - x1[rows[1]]).square().sum(dim=1).mean().item()


@pytest.mark.parametrize("coupling", COUPLINGS, ids=repr)
@pytest.mark.parametrize("n", [1, 16, 40])
def test_each_data_point_is_used_once_and_its_partner_is_of_the_same_part(coupling, n):
    x0, x1 = ends(n)
    rows0, rows1 = coupling(x0, x1, generator())
    assert rows0.tolist() == list(range(n))
    assert (rows0 // 16 == rows1 // 16).all()
    if not isinstance(coupling, EntropicTransport):
        assert sorted(rows1.tolist()) == list(range(n))


def is_optimal(rows, x0, x1):
    """By all permutations."""
    costs = square_costs(x0, x1)
    best = min(costs[range(len(x0)), list(p)].sum() for p in itertools.permutations(range(len(x0))))
    return bool(costs[rows].sum() <= best + 1e-12)


def test_optimal_transport_is_the_best_of_all_permutations():
    x0, x1 = ends(6)
    assert is_optimal(OptimalTransport(6)(x0, x1, generator()), x0, x1)


class NearestFirst(OptimalTransport):
    """Planted: each point takes the nearest that is left."""

    def __call__(self, x0, x1, generator):
        costs, taken = square_costs(x0, x1), []
        for row in costs:
            row[taken] = torch.inf
            taken.append(int(row.argmin()))
        return torch.arange(len(x0)), torch.tensor(taken)


def test_a_greedy_pairing_is_found_not_to_be_optimal():
    x0, x1 = ends(6)
    assert not is_optimal(NearestFirst(6)(x0, x1, generator()), x0, x1)


def test_larger_parts_cost_less():
    x0, x1 = ends(256)
    costs = [cost(x0, x1, OptimalTransport(size)(x0, x1, generator())) for size in (2, 16, 256)]
    assert costs[0] > costs[1] > costs[2]


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 50.0])
def test_the_entropic_plan_has_its_marginals_and_its_form(epsilon):
    """The form, two potentials and the cost, is that of the optimum and of nothing else."""
    x0, x1 = ends(12)
    costs = square_costs(x0, x1)
    plan = sinkhorn(costs, epsilon, tolerance=1e-9, max_iterations=20_000)
    assert torch.allclose(plan.sum(dim=0), torch.full((12,), 1 / 12, dtype=f64), atol=1e-12)
    assert torch.allclose(plan.sum(dim=1), torch.full((12,), 1 / 12, dtype=f64), atol=1e-9)
    potentials = plan.log() + costs / epsilon
    double_centred = potentials - potentials.mean(dim=0) - potentials.mean(dim=1, keepdim=True) + potentials.mean()
    assert double_centred.abs().max() < 1e-9


def test_the_entropic_plan_lies_between_the_optimal_and_the_independent_one():
    x0, x1 = ends(12)
    costs = square_costs(x0, x1)
    narrow, wide = sinkhorn(costs, 0.02, 1e-3, 5000), sinkhorn(costs, 1e4)
    rows = OptimalTransport(12)(x0, x1, generator())
    assert (narrow[rows] * 12 > 0.9).all()
    assert torch.allclose(wide, torch.full_like(wide, 1 / 144), rtol=0.01)


def count_is_of_plan(coupling, epsilon, draws=4000):
    """Whether the partners of a point are drawn from its row of the plan of `epsilon`: the largest difference of 16
    shares, in their standard deviations; beyond 6 with a probability below 1e-7."""
    x0, x1 = ends(4)
    share = 4 * sinkhorn(square_costs(x0, x1), epsilon, 1e-9, 10_000)
    counts, g = torch.zeros(4, 4, dtype=f64), generator(3)
    for _ in range(draws):
        counts[coupling(x0, x1, g)] += 1
    z = (counts / draws - share) / (share * (1 - share) / draws).sqrt().clamp(min=1e-9)
    return bool(z.abs().max() < 6.0)


def test_pairs_are_drawn_from_the_plan_and_another_epsilon_is_found(monkeypatch):
    """The coupling computes its plan once for all draws."""
    plans = {}

    def once(cost, *settings):
        if settings not in plans:
            plans[settings] = sinkhorn(cost, *settings)
        return plans[settings]

    monkeypatch.setattr(entropic, "sinkhorn", once)
    coupling = EntropicTransport(2.0, 4, tolerance=1e-9)
    assert count_is_of_plan(coupling, 2.0)
    assert not count_is_of_plan(coupling, 4.0)


def test_numbers_out_of_range_are_refused():
    for wrong, name in (
        (lambda: OptimalTransport(1), "size must be at least 2, got 1"),
        (lambda: EntropicTransport(0.0), "epsilon must be positive, got 0"),
        (lambda: EntropicTransport(max_iterations=0), "max_iterations must be at least 1"),
    ):
        with pytest.raises(ValueError, match=name):
            wrong()


def test_sinkhorn_stops_where_the_rows_are_right_to_the_tolerance_and_not_before():
    """Four points and six, so that the weights of the sides differ; the marginals are looked at every ten steps."""
    cost = 4.0 * torch.rand(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    after = {n: sinkhorn(cost, 0.1, tolerance=1e-300, max_iterations=n) for n in (10, 20, 30)}
    errors = {n: float((4 * plan.sum(dim=1) - 1).abs().max()) for n, plan in after.items()}
    assert errors[10] > 1.1 * errors[20] > 1.2 * errors[30] > 0
    for n in (10, 20):
        assert torch.equal(sinkhorn(cost, 0.1, tolerance=1.001 * errors[n], max_iterations=30), after[n])
        assert torch.equal(sinkhorn(cost, 0.1, tolerance=0.999 * errors[n], max_iterations=n + 10), after[n + 10])
    assert torch.allclose(after[10].sum(dim=0), torch.full((6,), 1 / 6, dtype=torch.float64), rtol=1e-14)


def test_an_iteration_of_sinkhorn_scales_the_rows_and_then_the_columns():
    cost = torch.rand(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    K = (-cost / 0.5).exp()
    K = K / (4 * K.sum(dim=1, keepdim=True))
    K = K / (6 * K.sum(dim=0, keepdim=True))
    assert torch.allclose(sinkhorn(cost, 0.5, max_iterations=1), K, rtol=1e-12)
