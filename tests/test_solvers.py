"""Solvers of ordinary differential equations: their coefficients, and the steps that the adaptive one takes."""

import itertools
import math

import pytest
import torch

from toy_score.solvers import DORMAND_PRINCE, RK4, solve_adaptively, stages

TREES = [
    # Weights of the stages that a rooted tree stands for, and what they sum to (Hairer, Norsett & Wanner 1993, II.2).
    (1, lambda a, c: c**0, 1),
    (2, lambda a, c: c, 2),
    (3, lambda a, c: c**2, 3),
    (3, lambda a, c: a @ c, 6),
    (4, lambda a, c: c**3, 4),
    (4, lambda a, c: c * (a @ c), 8),
    (4, lambda a, c: a @ c**2, 12),
    (4, lambda a, c: a @ a @ c, 24),
    (5, lambda a, c: c**4, 5),
    (5, lambda a, c: c**2 * (a @ c), 10),
    (5, lambda a, c: (a @ c) ** 2, 20),
    (5, lambda a, c: c * (a @ c**2), 15),
    (5, lambda a, c: c * (a @ a @ c), 30),
    (5, lambda a, c: a @ c**3, 20),
    (5, lambda a, c: a @ (c * (a @ c)), 40),
    (5, lambda a, c: a @ a @ c**2, 60),
    (5, lambda a, c: a @ a @ a @ c, 120),
]


def arrays(tableau):
    """The coefficients in float64: `a` as a square matrix, `b`, `c`, and the weights of the error estimate."""
    n = len(tableau.b)
    a = torch.tensor([[*row, *[0.0] * (n - len(row))] for row in tableau.a], dtype=torch.float64)
    return a, *(torch.tensor(part, dtype=torch.float64) for part in (tableau.b, tableau.c, tableau.error))


@pytest.mark.parametrize(("tableau", "order"), [(RK4, 4), (DORMAND_PRINCE, 5)])
def test_the_coefficients_of_a_method_satisfy_the_conditions_of_its_order(tableau, order):
    a, b, c, _ = arrays(tableau)
    assert torch.allclose(a.sum(dim=1), c, rtol=0, atol=1e-14)
    sums = [float(b @ weights(a, c) - 1 / total) for size, weights, total in TREES if size <= order]
    assert sums == pytest.approx([0.0] * len(sums), abs=1e-14)


def test_the_error_estimate_is_the_difference_of_orders_five_and_four():
    """So the weights sum to 0 over every tree of up to four nodes, and over one of five they do not."""
    a, _, c, error = arrays(DORMAND_PRINCE)
    sums = [float(error @ weights(a, c)) for size, weights, _ in TREES if size <= 4]
    assert sums == pytest.approx([0.0] * len(sums), abs=1e-14)
    assert float(error @ c**4) == pytest.approx(71 / 270_000)  # by rational arithmetic
    assert DORMAND_PRINCE.a[-1] == DORMAND_PRINCE.b[:-1]  # the last slope is the first of the next step


def test_a_step_of_any_method_follows_a_slope_that_depends_on_time_and_place():
    """`y' = y + u` from 1 at u = 0 is `2 e^u - u - 1`; an error of order h^(p + 1)."""
    for tableau, bound in ((RK4, 1e-6), (DORMAND_PRINCE, 1e-8)):
        y, _ = stages(tableau, lambda u, y: y + u, 0.0, torch.ones(1, 1, dtype=torch.float64), 0.1)
        assert float(y) == pytest.approx(2 * math.exp(0.1) - 1.1, abs=bound)


def starts_of_steps(f, tolerance, begin=0.0, end=1.0, y=0.0):
    """Where the attempts begin, in order, and the solution."""
    seen = []

    def noting(u, y):
        seen.append(float(u[0]))
        return f(u, y)

    solution = solve_adaptively(noting, torch.full((1, 1), y, dtype=torch.float64), begin, end, tolerance)
    assert int(solution.evaluations) == len(seen)
    ends = seen[6::6]  # the last of the six new stages of an attempt is at its end
    return ends, solution


def test_the_steps_of_a_quadrature_are_those_of_its_error():
    """For `y' = 5 u^4` the estimate is `71 h^5 / 54000`, see above; `h = 0.9 (tolerance (1 + y) 54000 / 71)^(1/5)`."""
    tolerance, largest = 1e-9, 1e-9 * 54_000 / 71
    ends, solution = starts_of_steps(lambda u, y: 5 * u**4, tolerance)
    assert float(solution.y) == pytest.approx(1.0, abs=1e-12)
    h = 0.9 * largest**0.2  # 0.0538, since the first attempt, 1/16, has 1.25 times the error that is allowed
    assert ends[:4] == pytest.approx([1 / 16, h, 2 * h, 3 * h], rel=1e-4)
    steps = [ends[1], *(b - a for a, b in itertools.pairwise(ends[1:]))]
    scales = [1 + end**5 for end in ends[1:]]
    expected = [0.9 * (largest * scale) ** 0.2 for scale in scales]
    assert steps[1:-1] == pytest.approx(expected[:-2], rel=1e-6)
    assert float(solution.error) == pytest.approx(sum(71 * step**5 / 54_000 for step in steps))


def test_a_step_grows_fivefold_at_most_and_shrinks_to_a_fifth_at_most():
    """A constant slope has no error: 1/16, 5/16, and the rest. Far too large an error: a fifth, and a fifth."""
    ends, solution = starts_of_steps(lambda u, y: torch.ones_like(y), 1e-6)
    assert ends == pytest.approx([1 / 16, 6 / 16, 1.0])
    assert float(solution.y) == pytest.approx(1.0)
    ends, _ = starts_of_steps(lambda u, y: 5 * u**4, 1e-16)
    assert ends[:3] == pytest.approx([1 / 16, 1 / 80, 1 / 400])


def test_a_row_that_needs_more_steps_than_allowed_is_nan_and_the_others_are_not():
    y = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    solution = solve_adaptively(lambda u, y: torch.where(y > 0.5, 1e12 * u**4, 1.0), y, 0.0, 0.4, 1e-6, max_steps=6)
    assert float(solution.y[0]) == pytest.approx(0.4)
    assert solution.y[1].isnan()


def test_steps_from_any_time_are_those_of_the_method_and_of_the_worst_component():
    """`y' = (y_0 + u, 1)`: the second has no error. Each step begins with the slope where it begins."""

    def f(u, y):
        seen.append(float(u[0]))
        return torch.stack([y[:, 0] + u[:, 0], torch.ones_like(u[:, 0])], dim=1)

    seen, start = [], torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    solution = solve_adaptively(f, start, 0.5, 2.5, 1e-8)
    ends = [0.5, *seen[6::6]]
    assert ends[1] == 0.5 + 2.0 / 16
    ends = [end for k, end in enumerate(ends) if all(end < later for later in ends[k + 1 :])]  # of the steps that count
    assert len(ends) > 8
    y, error = start, 0.0
    for begin, end in itertools.pairwise(ends):
        u = torch.full((1, 1), begin, dtype=torch.float64)
        y, slopes = stages(DORMAND_PRINCE, f, u, y, end - begin)
        error += (end - begin) * float(sum(w * k for w, k in zip(DORMAND_PRINCE.error, slopes, strict=True))[0, 0])
    assert torch.allclose(solution.y, y, rtol=1e-12)
    assert float(solution.error) == pytest.approx(abs(error), rel=1e-3)
    assert float(solution.y[0, 0]) == pytest.approx(2.5 * math.exp(2.0) - 3.5, abs=1e-6)
