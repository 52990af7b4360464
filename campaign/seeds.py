"""The statistical tests with other seeds: how often they fail, against the rate of false alarms that they state.

    python -m campaign.seeds [--number 30] [--seed 0]

`tests/conftest.py` adds `TOY_SCORE_SEED` to the seed of every generator of a test. A test that states a rate of 1e-6
must not fail with any of thirty other seeds: one that does holds by luck of its own seed.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from campaign.record import Record, main

ROOT = Path(__file__).resolve().parents[1]
TESTS = [
    "test_data.py::test_training_noise_and_training_points_are_independent",
    "test_denoisers.py::test_the_exact_denoiser_has_the_minimal_loss_and_the_excess_is_the_score_error",
    "test_denoisers.py::test_random_levels_are_uniform_and_uniform_times_are_even",
    "test_denoisers.py::test_all_objectives_have_the_same_mean",
    "test_denoisers.py::test_a_wrong_divergence_would_be_found_by_the_same_test",
    "test_denoisers.py::test_noise_free_score_matching_is_minimal_for_the_true_score",
    "test_distributions.py::test_entropy_is_that_of_the_samples",
    "test_fields.py::test_points_where_the_jacobian_is_not_a_covariance_are_counted",
    "test_framework.py::test_with_the_exact_denoiser_the_schedule_of_every_model_samples_the_heart",
    "test_gaussianised.py::test_the_p_values_are_calibrated",
    "test_gaussianised.py::test_exact_samples_pass_and_wrong_ones_do_not",
    "test_likelihood.py::test_hutchinsons_estimate_is_right_on_average",
    "test_likelihood.py::test_the_forward_kl_is_the_negative_log_likelihood_minus_the_entropy",
    "test_metrics.py::test_exact_samples_stay_below_the_theoretical_threshold",
    "test_metrics.py::test_planted_defects_exceed_the_theoretical_threshold",
    "test_metrics.py::test_mode_weights_name_the_right_modes",
    "test_metrics.py::test_each_defect_is_detected_by_the_metrics_made_for_it",
    "test_metrics.py::test_score_error_of_a_scaled_score_is_known",
    "test_paper_metrics.py::test_the_embedding_of_the_truth_is_that_of_its_samples",
    "test_paper_metrics.py::test_mmd_is_unbiased_and_detects_errors",
    "test_points.py::test_samples_of_points_are_points_each_as_often_as_any_other",
    "test_points.py::test_fresh_samples_are_not_called_memorised_and_one_copy_in_five_is",
    "test_points.py::test_the_excess_has_the_stated_distribution",
    "test_power.py",
    "test_samplers.py::test_annealed_langevin_recovers_the_mode_weights",
    "test_samplers.py::test_noise_is_standard_and_its_rows_independent_of_the_window",
    "test_section3.py::test_annealed_langevin_recovers_mode_weights",
    "test_section3.py::test_plain_langevin_keeps_the_weights_of_its_start",
    "test_section3.py::test_a_step_that_lacks_the_factor_one_half_is_found_by_the_weights",
    "test_section3.py::test_the_divergence_along_one_direction_is_unbiased_for_the_exact_one",
    "test_stable_target.py::test_the_target_has_the_mean_of_the_noise_whatever_the_number_of_points",
    "test_training_promises.py::test_evenly_spread_times_are_moved_by_a_random_offset",
]
"""Those that draw random numbers and compare with a threshold; the others compare exact values, whatever the seed."""


class Reseeded:
    """A plugin of pytest that runs the collected tests once for each seed, in forked processes."""

    def __init__(self, record: Record, seeds: range):
        self.record, self.seeds = record, seeds

    def pytest_runtestloop(self, session: Any) -> bool:
        for seed in self.seeds:
            left = [item for item in session.items if not self.record.has(f"{seed} {name_of(item)}")]
            for name, why in _forked(left, seed):
                failure = f"{name}, seed {seed}: {why}" if why else None
                self.record.add(name.partition("[")[0], failure, key=f"{seed} {name}")
        return True


def name_of(item: Any) -> str:
    """The name of a test, without the folder."""
    return str(item.nodeid).removeprefix("tests/")


def _forked(items: list[Any], seed: int) -> Iterator[tuple[str, str]]:
    """The tests with another seed, in a process of its own: name, and why it failed or ""."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        sys.modules["conftest"].SEED = seed  # type: ignore[attr-defined]
        with os.fdopen(writing, "w") as out:
            for item in items:
                why = failure(item)
                print(json.dumps([name_of(item), why]), file=out, flush=True)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        yield from map(json.loads, lines)
    os.waitpid(pid, 0)


def failure(item: Any) -> str:
    """Run a test; the end of the report of its failure, or "" if it passed."""
    from _pytest.runner import runtestprotocol

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        reports = runtestprotocol(item, nextitem=None, log=False)
    failed = [str(report.longrepr).strip().splitlines()[-1] for report in reports if report.failed]
    return failed[0] if failed else ""


def campaign(record: Record, number: int, seed: int) -> None:
    """Every test with so many other seeds."""
    import pytest

    os.chdir(ROOT)
    os.environ["TOY_SCORE_SEED"] = "1"  # `tests/conftest.py` makes generators that can be seeded otherwise
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-W", "ignore"]
    seeds = range(seed + 1, seed + 1 + number)
    pytest.main([*options, *(f"tests/{test}" for test in TESTS)], plugins=[Reseeded(record, seeds)])
    if not record.tried:
        record.add("all", "no test ran")


if __name__ == "__main__":
    main("seeds", campaign, 30, __doc__, "other seeds")
