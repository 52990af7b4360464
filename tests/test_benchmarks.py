"""The benchmarks run and measure what they promise; no time is asserted."""

import argparse
import contextlib
import importlib.util
import io
import json
import math
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from benchmarks import (
    bridges,
    busy,
    couplings,
    flow_maps,
    growth,
    optimisations,
    oracles,
    overhead,
    peers,
    quality,
    sampling,
    study,
    time_to_quality,
    timing,
)
from benchmarks.timing import interleaved, markdown, run
from toy_score import Checkerboard, Heart, HeartDataModule, Heun, NCSNModule, __main__ as entry
from toy_score.callbacks import Checkpoint
from toy_score.metrics import noise_floors

ROOT = Path(__file__).resolve().parents[1]


def test_compared_functions_are_timed_in_turns():
    said = []
    found = interleaved({"a": partial(said.append, "a"), "b": partial(said.append, "b")}, repeats=3)
    assert said == ["a", "b"] * 4
    assert set(found) == {"a", "b"}
    assert all(seconds > 0 for seconds in found.values())


def test_a_command_is_timed_with_its_own_memory_and_its_failure_is_shown(tmp_path):
    hundred = run(tmp_path, "print('done', len(bytearray(10**8)))", python=("-c",))
    assert hundred.printed == "done 100000000\n"
    assert hundred.seconds > 0
    assert 95 < hundred.megabytes - run(tmp_path, "pass", python=("-c",)).megabytes < 120
    with pytest.raises(SystemExit, match="no luck"):
        run(tmp_path, "raise SystemExit('no luck')", python=("-c",))


def test_busy_loops_run_as_long_as_the_block_and_no_longer():
    with busy.busy_loops(2) as loops:
        assert [loop.poll() for loop in loops] == [None, None]
    assert None not in [loop.poll() for loop in loops]


def test_a_command_beside_others_is_compared_with_its_fair_share(monkeypatch):
    seconds = {(1, 0): 4.0, (1, 1): 4.0, (1, 3): 10.0, (2, 0): 3.0, (2, 1): 9.0, (2, 3): 75.0}
    beside = []

    @contextlib.contextmanager
    def loops(n):
        beside.append(n)
        yield

    def timed(folder, *argv):
        return timing.Run(seconds[argv[-1], beside[-1]], 0.0, "")

    monkeypatch.setattr(busy, "busy_loops", loops)
    monkeypatch.setattr(busy, "run", timed)
    monkeypatch.setattr(busy, "commands", lambda folder, quick: {"fit": ["fit"]})
    monkeypatch.setattr(busy, "default_threads", lambda: 2)
    monkeypatch.setattr(busy.os, "cpu_count", lambda: 2)
    ((one, two),) = busy.measure(argparse.Namespace(quick=True, device="cpu")).values()
    shares = ["of its fair share, 1", "of its fair share, 3"]
    assert [one[share] for share in shares] == ["1.00", "1.25"]
    assert [two[share] for share in shares] == ["2.00", "10.00"]


def test_tables_are_markdown():
    rows = [{"n": 1, "s": "0.5"}, {"n": 2, "s": "0.7"}]
    assert markdown(rows) == "| n | s |\n|---|---|\n| 1 | 0.5 |\n| 2 | 0.7 |"


def test_the_bare_loop_takes_the_steps_that_the_trainer_takes(monkeypatch):
    """The ratio compares like with like: the same weights come out, bit for bit."""
    made = []

    def module(**kwargs):
        torch.manual_seed(0)
        made.append(NCSNModule(**kwargs))
        return made[-1]

    monkeypatch.setattr(overhead, "NCSNModule", module)
    overhead.bare(64, 7, "cpu")
    overhead.trained(64, 7, "cpu", steps_at_once=3, average=False)
    bare, trained = (torch.cat([p.detach().flatten() for p in model.parameters()]) for model in made)
    assert torch.equal(bare, trained)


def test_the_sampler_of_the_original_study_is_as_described_and_its_loops_learn():
    x = sampling.study_sampler(study.network(), 16, 3, "cpu")
    assert x.shape == (16, 2)
    assert x.grad_fn is not None  # it records gradients
    for loss_of in study.LOSSES.values():
        torch.manual_seed(0)
        net, x0 = study.network(), Heart().sample(512, torch.Generator().manual_seed(0))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        losses = []
        for _ in range(20):
            losses.append(loss_of(net, x0))
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < losses[0]


def test_the_tables_of_sampling_and_growth_can_be_made():
    table = sampling.measure(argparse.Namespace(quick=True, device="cpu"))
    assert len(*table.values()) == len(sampling.SAMPLERS)
    assert [row["steps"] for row in growth.steps(16, [1, 2])] == ["1", "2"]
    assert [row["parameters"] for row in growth.widths(16, [8, 128])] == [122, 17_282]


def test_every_optimisation_is_measured_against_the_code_without_it():
    ratios, errors = optimisations.measure(argparse.Namespace(quick=True, device="cpu")).values()
    assert len({row["optimisation"] for row in ratios}) == len(ratios) == 11
    assert len({row["score error"] for row in errors}) == 3  # each training is another


def test_a_device_that_is_not_there_is_refused_before_anything_is_measured(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["benchmarks.peers", "--device", "tpu"])
    with pytest.raises(SystemExit) as refusal:
        timing.main("peers", pytest.fail, "")
    assert refusal.value.code == 2
    assert "--device tpu: there is no such device here" in capsys.readouterr().err


def test_our_rows_are_measured_whatever_other_libraries_are_installed(capsys):
    (rows,) = peers.measure(argparse.Namespace(quick=True, device="cpu")).values()
    assert sum(row["library"].startswith("toy_score") for row in rows) == 6
    measured = {row["library"] for row in rows}
    said = capsys.readouterr().out
    assert measured == {name for name in peers.CONTESTANTS if f"{name} is left out: " not in said}
    assert all(float(row["of the floor"]) > 1 for row in rows)  # 20 steps do not do


def test_scores_a_second_are_measured_for_every_distribution():
    threads = torch.get_num_threads()
    (rows,) = oracles.measure(argparse.Namespace(quick=True)).values()
    torch.set_num_threads(threads)
    assert [row["distribution"] for row in rows] == [f"`{p!r}`" for p in oracles.zoo()]
    assert all(set(row) == {"distribution", "1 thread", "2 threads"} for row in rows)


def in_this_process(monkeypatch):
    """`command` without a process of its own, and without long pictures."""
    short = {"fit": ["--pictures.frames", "0", "--pictures.n_samples", "10", "--data.n_val", "64"], "test": []}

    def command(folder, name, *argv):
        with contextlib.redirect_stdout(io.StringIO()) as printed, monkeypatch.context() as patch:
            patch.chdir(folder)
            entry.main([name, *map(str, argv), *short[name], "--trainer.accelerator", "cpu"])
        return printed.getvalue()

    return command


def test_the_quality_of_a_config_is_measured_by_commands_alone(monkeypatch):
    """The commands run within this process."""
    monkeypatch.setattr(quality, "command", in_this_process(monkeypatch))
    ((row,),) = quality.measure(argparse.Namespace(quick=True, parts=["edm_heart"], seeds=1, kept=False)).values()
    assert row["config"] == "`edm_heart`"
    assert float(row["sliced W1 / floor"]) > 1  # 20 steps do not do


def test_a_flow_of_each_method_is_trained_followed_and_compared_and_the_floor_is_measured(monkeypatch):
    faster = couplings.Settings(size=32)  # the optimal pairs of 512 points take most of the time
    monkeypatch.setitem(couplings.CAUSES, "none", faster)
    settings = {"quick": True, "seeds": 1, "points": 200, "causes": False, "kept": False}
    options = argparse.Namespace(parts=["normal_to_moons"], methods=list(couplings.METHODS), **settings)
    (rows,) = couplings.measure(options).values()
    assert [row["method"] for row in rows] == list(couplings.METHODS)
    for row in rows:
        assert float(row["W2"]) > float(row["resampled"]) > 0  # 20 steps do not do
        assert float(row["W2"]) > float(row["noise floor"].split()[0]) > 0
        assert float(row["path energy"]) >= 0


def test_the_result_of_a_coupling_is_kept_until_its_settings_change(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(couplings, "measured", lambda *case: trained.append(case) or {"w2": 1.0})
    for _ in range(2):
        couplings.kept("normal_to_moons", "optimal", 0, tmp_path)
        couplings.kept("normal_to_moons", "exact", 0, tmp_path)
    assert [case[:3] for case in trained] == [("normal_to_moons", "optimal", 0), ("normal_to_moons", "exact", 0)]
    couplings.kept("normal_to_moons", "optimal", 0, tmp_path, 500)
    couplings.kept("normal_to_moons", "optimal", 0, tmp_path, cause="4000 training steps")
    monkeypatch.setattr(couplings, "BATCH", 7)
    couplings.kept("normal_to_moons", "optimal", 0, tmp_path, 500)
    assert len(trained) == 5


def test_points_of_equal_shares_have_as_many_of_each_class():
    x = couplings.of_equal_shares(couplings.EIGHT, 400, 0)
    assert couplings.EIGHT.modes(x).bincount().sub(50).abs().max() <= 2  # a few are nearer to another mode
    assert couplings.of_equal_shares(couplings.S_CURVE, 400, 0).shape == (400, 2)


def test_a_bridge_of_each_kind_of_pairs_is_compared_with_the_known_one(monkeypatch):
    monkeypatch.setattr(bridges, "SIZE", 32)
    monkeypatch.setattr(bridges, "METHODS", ("entropic", "nothing"))
    (rows,) = bridges.measure(argparse.Namespace(quick=True, seeds=1)).values()
    learned, known = rows
    assert [float(known[name]) for name in ("drift", "slope", "score")] == [0.0, 0.0, 0.0]
    assert all(0.05 < float(learned[name]) < 2.0 for name in ("drift", "slope", "score"))  # 10 steps do not do
    assert float(known["SDE"]) < 2.0 < float(learned["SDE"])


def test_a_run_is_kept_until_the_settings_of_its_config_change(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(quality, "measured", lambda config, seed: trained.append((config, seed)) or {"metrics": {}})
    first = quality.kept("edm_heart", 0, tmp_path)
    assert quality.kept("edm_heart", 0, tmp_path) == first
    quality.kept("edm_heart", 1, tmp_path)
    quality.kept("edm_split_normal", 0, tmp_path)
    assert trained == [("edm_heart", 0), ("edm_heart", 1), ("edm_split_normal", 0)]
    changed = quality.merged(quality.parse("fit", ["--config", "edm_heart", "--trainer.max_steps", "7"]), {})
    monkeypatch.setattr(quality, "merged", lambda *_: changed)
    quality.kept("edm_heart", 0, tmp_path)
    assert trained[3:] == [("edm_heart", 0)]


def test_kept_runs_are_shown_beside_the_present_floors_without_training(tmp_path, monkeypatch):
    """A run of old floors and of settings that are no longer those of its config."""
    floors = noise_floors(Heart(), 200)
    old = {"value": 0.1, "floor": 0.05, "floor_sd": 0.01, "z": 5.0}
    metrics = {
        "settings": {"data": "toy_score.HeartDataModule"},
        "title": "a, 45 evaluations",
        "n": 200,
        "repeats": 4,
        "nonfinite": 0,
        "score_error": {"mean": 1e-4},
        "invalid_mass": {"value": 0.0},
        "mode_weights": {},
        **{name: old | ({"ratio": 2.0} if name == "sliced_w1" else {}) for name in quality.TABLE},
    }
    metrics["gaussianised_ks"] = old | {"p_values": [0.5]}
    run = {"config": "edm_heart", "seed": 0, "settings": "old", "seconds": 1.0, "cpu_seconds": 1.0, "metrics": metrics}
    monkeypatch.setattr(quality, "RESULTS", tmp_path)
    monkeypatch.setattr(quality, "measured", lambda *_: pytest.fail("it trained"))
    options = argparse.Namespace(quick=False, parts=["edm_heart"], seeds=2, kept=True)
    with pytest.raises(SystemExit, match="no runs of edm_heart are kept"):
        quality.measure(options)
    (tmp_path / "quality").mkdir()
    (tmp_path / "quality" / "edm_heart-0.json").write_text(json.dumps(run))
    ((row,),) = quality.measure(options).values()
    gap, w1 = floors["cross_entropy_gap"].of_mean(4), floors["sliced_w1"]
    assert row["gap, nats (z)"] == f"+0.1000 ({gap.z(0.1):+.1f})"
    assert row["sliced W1 / floor"] == f"{0.1 / w1.mean:.2f}"


def test_the_histograms_of_exact_samples_differ_by_their_scatter_and_empty_fields_cost_much():
    """The expected KL of two histograms of n points in K bins is near `(K - 1) / n`; with seven fields of eight, the
    share of the eighth is lost to bins that count as 1e-10."""
    p, n = Checkerboard(side=1.0), 100_000
    real, other = (p.sample(n, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert flow_maps.histogram_kl(real, other) == pytest.approx(8 * 144 / n, rel=0.1)
    one = (real[:, 0] < -1) & (real[:, 1] < -1)
    share = one.double().mean().item()
    lost = share * (math.log(share / 144 / 1e-10)) + (1 - share) * math.log(1 - share)
    assert flow_maps.histogram_kl(real, real[~one]) == pytest.approx(lost, rel=0.02)
    outside = torch.cat([real, torch.full_like(real, 9.0)])
    assert flow_maps.histogram_kl(real, outside) == pytest.approx(math.log(2.0))


def test_flow_maps_are_measured_by_every_objective_and_beside_the_published_checkerboard(monkeypatch):
    """Ten steps do not do. The commands run within this process; `Lagrangian` stands for all objectives."""
    monkeypatch.setattr(flow_maps, "command", in_this_process(monkeypatch))
    monkeypatch.setattr(flow_maps, "OBJECTIVES", {"Lagrangian": 10})
    parts = ["checkerboard", "objectives"]
    options = argparse.Namespace(quick=True, parts=parts, seeds=1, runs=None, device="cpu")
    board, (objective,) = flow_maps.measure(options).values()
    assert objective["objective"] == "`Lagrangian`"
    assert all(float(objective[column]) > 1.5 for column in flow_maps.SAMPLERS)
    ours, published, exact = board
    for evaluations in map(str, flow_maps.PUBLISHED):
        assert float(ours[evaluations]) > float(published[evaluations]) > 0
        assert float(exact[evaluations]) > 0


def test_a_row_counts_the_draws_that_pass_and_names_the_largest_deviation_of_all_seeds():
    def run(z, p, seconds):
        metric, share = {"value": 0.01, "z": 0.5, "ratio": 1.0 + z / 10, "p_values": p}, {"share": 0.5, "z": z}
        table = {name: metric for name in quality.TABLE}
        metrics = {
            **table,
            "mode_weights": {"left": share},
            "score_error": {"mean": 1e-4},
            "invalid_mass": {"value": 0.003},
            "title": "a, 45 evaluations",
        }
        return {"seconds": seconds, "cpu_seconds": 50.0, "metrics": metrics}

    found = quality.row(
        "edm_heart", [run(1.0, [0.5, 0.02], 30.0), run(-4.0, [0.009, 0.9], 36.0), run(0.0, [1, 1], 31.0)]
    )
    assert found["KS"] == "5 of 6"
    assert found["largest z"] == "-4.0 share of the mode left"
    assert found["training"] == "31 (30 to 36) s"
    assert found["CPU"] == "50 s"
    assert found["sliced W1 / floor"] == "1.00 (0.60 to 1.10)"


def test_a_command_of_a_benchmark_is_a_process_and_its_failure_is_shown(tmp_path):
    assert timing.command(tmp_path, "list", "schedules").startswith("schedules")
    with pytest.raises(SystemExit, match=r"toy_score lst failed:\nerror: there is no command 'lst'"):
        timing.command(tmp_path, "lst")


def test_part_of_a_benchmark_is_printed_and_not_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(timing, "RESULTS", tmp_path)
    rows = lambda options: {"title": [{"part": part} for part in options.parts]}  # noqa: E731
    monkeypatch.setattr("sys.argv", ["benchmarks.x", "b"])
    timing.main("x", rows, "", ["a", "b"])
    assert "| b |" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("sys.argv", ["benchmarks.x"])
    timing.main("x", rows, "", ["a", "b"])
    assert (tmp_path / "x.md").read_text().endswith("| part |\n|---|\n| a |\n| b |\n")


def test_quality_is_that_of_the_checkpoint(tmp_path):
    keep = Checkpoint()
    keep.dirpath = str(tmp_path)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_steps=1, callbacks=[keep], limit_val_batches=0, **quiet)
    trainer.fit(NCSNModule(sampler=Heun(2)), HeartDataModule(batch_size=16))
    found = time_to_quality.quality(tmp_path / "last.ckpt", 500)
    for marks in time_to_quality.MARKS.values():
        assert all(found[name] > mark for name, mark in marks.items())  # one step does not do


def test_a_sweep_finds_the_best_of_its_trials(capsys):
    pytest.importorskip("optuna")
    spec = importlib.util.spec_from_file_location("sweep", ROOT / "examples/sweep.py")
    sweep = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sweep)
    sweep.main(["--trials", "2", "--steps", "2"])
    assert "best of 2: score error" in capsys.readouterr().out


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_and_cpu_agree():
    model, x = NCSNModule(sampler=Heun(4)).eval(), Heart().sample(5000, torch.Generator().manual_seed(0))
    here = model.denoiser.denoise(x, 0.5)
    samples = model.cuda().sample(5000, seed=1)
    assert samples.device.type == "cuda"
    assert torch.isfinite(samples).all()
    assert torch.allclose(model.denoiser.denoise(x.cuda(), 0.5).cpu(), here, atol=1e-3)
