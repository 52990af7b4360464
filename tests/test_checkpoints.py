"""Reading a checkpoint runs no foreign code, opens no file unasked, and notices damage."""

import copy
import json
import math
import os
import random
import struct
import sys
import zipfile
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from toy_score import MLP, EDMModule, Guided, HeartDataModule, Heun, PointsDataModule, ScoreModule, __main__ as entry
from toy_score.compare.contestants import load_models
from toy_score.component import check_config, to_config
from toy_score.data import ToyDataModule
from toy_score.modules import read_checkpoint
from toy_score.standardisation import Standardisation

COMMANDS = {
    "predict": ["predict", "--output", "x.npy", "--ckpt_path"],
    "test": ["test", "--output", "x.json", "--ckpt_path"],
    "validate": ["validate", "--ckpt_path"],
    "fit": ["fit", "--config", "edm_heart", "--trainer.max_steps", "9", "--ckpt_path"],
    "compare": ["compare", "--output", "out", "--device", "cpu"],
    "guide": ["predict", "--output", "x.npy", "--ckpt_path", "good.ckpt", "--model.guidance", "2", "--model.guide"],
}


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """What `fit` writes after a step, as `torch.load` returns it."""
    path = tmp_path_factory.mktemp("trained") / "last.ckpt"
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "limit_val_batches": 0}
    trainer = pl.Trainer(max_steps=1, logger=False, enable_checkpointing=False, accelerator="cpu", **quiet)
    data = HeartDataModule(n_train=64, batch_size=64, steps_at_once=1, n_val=64, n_samples=50, repeats=1)
    trainer.fit(EDMModule(sampler=Heun(2), backbone=MLP((16,))), data)
    trainer.save_checkpoint(path, weights_only=False)
    return torch.load(path, weights_only=True)


@pytest.fixture(autouse=True)
def good(content, tmp_path, monkeypatch):
    """That checkpoint in an otherwise empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["toy_score"])
    torch.save(content, "good.ckpt")
    return "good.ckpt"


def doctored(content, file, part="hyper_parameters", **arguments):
    """The checkpoint with other arguments in the description of the model, or of the data."""
    config = {**content[part], "init_args": content[part]["init_args"] | arguments}
    torch.save(content | {part: config}, file)
    return file


def refused(capsys, *argv):
    """The one line by which a command was refused with exit code 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        entry.main([str(word) for word in argv])
    said = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    assert len(said) == 1, said
    return said[0]


GIVEN = {"class_path": "toy_score.commands.arguments.Given", "init_args": {"command": "fit", "options": {}}}
STORE = {"class_path": "toy_score.compare.store.Store", "init_args": {"folder": "out", "settings": {}, "about": {}}}
NESTED = {"class_path": "toy_score.Heun", "init_args": {"grid": {"class_path": "evil.Grid"}}}
ATTACKS = {
    "a class of another kind": ({"sampler": GIVEN}, "model.sampler", "toy_score.commands.arguments.Given"),
    "a class that writes files": ({"schedule": STORE}, "model.schedule", "toy_score.compare.store.Store"),
    "a class of a foreign module": ({"times": {"class_path": "evil.Times"}}, "model.times", "--import evil"),
    "a foreign class within a component": ({"sampler": NESTED}, "model.sampler.grid", "evil.Grid"),
    "a class path without its braces": ({"sampler": "evil.Sampler"}, "model.sampler", "evil.Sampler"),
    "a class for a number": ({"noise_seed": STORE}, "model.noise_seed", "Store"),
    "a function": ({"optimizer": {"class_path": "os.system"}}, "model.optimizer", "os.system"),
}


@pytest.mark.parametrize(
    ("command", "attack"),
    [*((command, "a class of another kind") for command in COMMANDS), *(("predict", attack) for attack in ATTACKS)],
)
def test_every_command_refuses_a_class_that_is_not_of_the_expected_type(command, attack, content, capsys):
    arguments, where, word = ATTACKS[attack]
    Path("evil.py").write_text("open('code ran', 'w')")
    line = refused(capsys, *COMMANDS[command], doctored(content, "odd.ckpt", **arguments))
    assert line.startswith(f"error: {where}: ")
    assert word in line
    assert sorted(os.listdir()) == ["evil.py", "good.ckpt", "odd.ckpt"]
    assert "evil" not in sys.modules


@pytest.mark.parametrize("attack", ATTACKS)
def test_load_from_checkpoint_refuses_a_class_that_is_not_of_the_expected_type(attack, content):
    arguments, where, word = ATTACKS[attack]
    with pytest.raises(ValueError, match=f"^{where}: .*{word}"):
        ScoreModule.load_from_checkpoint(doctored(content, "odd.ckpt", **arguments))
    assert sorted(os.listdir()) == ["good.ckpt", "odd.ckpt"]


@pytest.mark.parametrize("command", ["predict", "test", "validate", "fit", "compare"])
def test_every_command_refuses_data_that_are_no_data_module(command, content, capsys):
    torch.save(content | {"datamodule_hyper_parameters": STORE}, "odd.ckpt")
    line = refused(capsys, *COMMANDS[command], "odd.ckpt")
    assert line.startswith("error: data: ")
    assert sorted(os.listdir()) == ["good.ckpt", "odd.ckpt"]


def test_nothing_is_built_before_all_is_checked(content, monkeypatch):
    built = []
    monkeypatch.setattr(Heun, "__post_init__", built.append)
    with pytest.raises(ValueError, match=r"model\.noise_seed: must be of type int, got 'zero'"):
        ScoreModule.load_from_checkpoint(doctored(content, "odd.ckpt", noise_seed="zero"))
    assert not built


WRONG = {
    "a word for a number": ({"label_dropout": "0.1"}, "model.label_dropout: must be of type float, got '0.1'"),
    "a truth value for a number": ({"noise_seed": True}, "model.noise_seed: must be of type int, got True"),
    "a number for a component": ({"times": 3}, "model.times: must be of type TrainingTimes, got 3"),
    "nothing where something must be": ({"schedule": None}, "model.schedule: must be of type Schedule, got None"),
    "an unknown argument": ({"nois_seed": 0}, "model: EDMModule has no argument 'nois_seed'; did you mean noise_seed?"),
    "a list that is too deep": (
        {"backbone": {"class_path": "toy_score.MLP", "init_args": {"hidden": [8, [8]]}}},
        "model.backbone.hidden[1]: must be of type int, got [8]",
    ),
    "none of the choices": (
        {"sampler": {"class_path": "toy_score.DDPMAncestral", "init_args": {"variance": "none"}}},
        "model.sampler.variance: must be 'posterior' or 'forward', got 'none'",
    ),
    "a base class": (
        {"sampler": {"class_path": "toy_score.Sampler"}},
        "model.sampler: refusing the class path 'toy_score.Sampler': a concrete Sampler is expected here",
    ),
    "another kind of component": (
        {"sampler": {"class_path": "toy_score.VE"}},
        "model.sampler: refusing the class path 'toy_score.VE': a concrete Sampler is expected here",
    ),
    "a component for an optimizer": (
        {"optimizer": {"class_path": "toy_score.Heun"}},
        "model.optimizer: refusing the class path 'toy_score.Heun': a concrete Optimizer is expected here",
    ),
    "a class that is gone": (
        {"sampler": {"class_path": "toy_score.Gone"}},
        "model.sampler: there is no class 'toy_score.Gone' in this version that is a Sampler; was it renamed?",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_entry(name, content, capsys):
    arguments, said = WRONG[name]
    line = refused(capsys, *COMMANDS["predict"], doctored(content, "odd.ckpt", **arguments))
    assert line == f"error: {said}"


def test_an_endlessly_nested_description_is_refused(content):
    endless = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested too deeply"):
        check_config(endless)


def test_descriptions_that_version_0_1_0_wrote_are_accepted():
    described = json.loads((Path(__file__).parent / "descriptions_0_1_0.json").read_text())
    assert len(described) == 9
    for model, data in described:
        check_config(model, ScoreModule, "model")
        check_config(data, ToyDataModule, "data")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_weights_that_are_not_finite(command, content, capsys):
    weights = {key: w.clone() for key, w in content["state_dict"].items()}
    key = list(weights)[2]
    weights[key].view(-1)[5] = math.nan if command == "predict" else math.inf
    torch.save(content | {"state_dict": weights}, "odd.ckpt")
    line = refused(capsys, *COMMANDS[command], "odd.ckpt")
    assert f"{key!r} in 'odd.ckpt' are not finite" in line
    assert sorted(os.listdir()) == ["good.ckpt", "odd.ckpt"]


# Damage


def equal(a, b):
    """Whether two contents of checkpoints are equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.numpy().tobytes() == b.numpy().tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and (a == b or a != a)


def noticed(data, place, content):
    """Whether a flipped bit at a place is refused; if not, it must not change anything."""
    flipped = bytearray(data)
    flipped[place // 8] ^= 1 << place % 8
    Path("flipped.ckpt").write_bytes(flipped)
    try:
        read = read_checkpoint("flipped.ckpt")
    except ValueError as error:
        return str(error) == "'flipped.ckpt' cannot be read as a checkpoint: it is damaged or incomplete"
    assert equal(read, content), place
    return False


def test_a_flipped_bit_in_a_weight_is_noticed_by_every_command(content, capsys):
    data = Path("good.ckpt").read_bytes()
    weights = content["state_dict"]["denoiser.backbone.layers.0.weight"].numpy().tobytes()
    flipped = bytearray(data)
    flipped[data.index(weights) + 100] ^= 1
    Path("flipped.ckpt").write_bytes(flipped)
    for argv in (COMMANDS["predict"], COMMANDS["fit"], COMMANDS["compare"], COMMANDS["guide"]):
        assert "'flipped.ckpt' cannot be read" in refused(capsys, *argv, "flipped.ckpt")
    with pytest.raises(ValueError, match="damaged or incomplete"):
        ScoreModule.load_from_checkpoint("flipped.ckpt")


def test_a_flipped_bit_is_noticed_or_changes_nothing(content):
    data, chance = Path("good.ckpt").read_bytes(), random.Random(0)
    assert all(noticed(data, place, content) for place in weight_bits(data, chance, 20))
    directory = 8 * zipfile.ZipFile("good.ckpt").start_dir
    for place in [chance.randrange(8 * len(data)) for _ in range(40)]:
        noticed(data, place, content)
    for place in [chance.randrange(directory, 8 * len(data)) for _ in range(60)]:
        noticed(data, place, content)


def test_a_record_that_is_marked_as_a_folder_is_noticed(content):
    """By one bit in the directory of the file, which no checksum covers."""
    data = Path("good.ckpt").read_bytes()
    entry = data.index(b"data/0", zipfile.ZipFile("good.ckpt").start_dir)
    attributes = data.rindex(b"PK\x01\x02", 0, entry) + 38
    assert noticed(data, 8 * attributes + 4, content)


def weight_bits(data, chance, n):
    """Places of bits within the records of the checkpoint."""
    records = zipfile.ZipFile("good.ckpt").infolist()
    for record in chance.choices(records, [r.file_size for r in records], k=n):
        name, extra = struct.unpack("<HH", data[record.header_offset + 26 : record.header_offset + 30])
        start = record.header_offset + 30 + name + extra
        yield 8 * start + chance.randrange(8 * record.file_size)


# Paths


def test_a_guide_named_by_a_checkpoint_is_opened_only_on_request(content, capsys):
    doctored(content, "guided.ckpt", guidance=1.5, guide="weak.ckpt")
    argv = ["predict", "--output", "x.npy", "--n_samples", "20", "--ckpt_path", "guided.ckpt"]
    line = refused(capsys, *argv)  # a missing file would be another error
    assert "--model.guide weak.ckpt" in line
    assert "weak.ckpt" in refused(capsys, *COMMANDS["compare"], "guided.ckpt")
    assert "there is no checkpoint 'weak.ckpt'" in refused(capsys, *argv, "--model.guide", "weak.ckpt")
    with pytest.raises(ValueError, match=r"not opened unasked.*guide='weak\.ckpt'"):
        ScoreModule.load_from_checkpoint("guided.ckpt")
    assert not Path("x.npy").exists()
    entry.main([*argv, "--model.guide", "good.ckpt"])
    entry.main([*argv, "--overwrite", "true", "--model.guidance", "1"])  # opens none
    assert np.isfinite(np.load("x.npy")).all()


def test_the_guide_of_a_guide_is_not_opened(content):
    doctored(content, "guided.ckpt", guidance=1.5, guide="weak.ckpt")
    model = ScoreModule.load_from_checkpoint("good.ckpt", guidance=2.0, guide="guided.ckpt")
    assert torch.allclose(model.sample(50), ScoreModule.load_from_checkpoint("good.ckpt").sample(50), atol=1e-3)


def test_compare_opens_a_guide_that_is_among_its_models(content, capsys):
    doctored(content, "guided.ckpt", guidance=1.5, guide="good.ckpt")
    assert "good.ckpt" in refused(capsys, *COMMANDS["compare"], "guided.ckpt")
    guided, guide = load_models(["guided.ckpt", "good.ckpt"], torch.device("cpu"))
    assert isinstance(guided.denoiser, Guided)
    assert not isinstance(guide.denoiser, Guided)


def test_a_file_of_points_that_the_checkpoint_names_is_read_where_it_is_needed_and_named(content, capsys):
    data, units = to_config(PointsDataModule("points.csv", n_samples=50)), to_config(Standardisation([0, 0], [1, 1]))
    content = content | {"datamodule_hyper_parameters": data}
    doctored(content, "points.ckpt", standardisation=units)
    entry.main(["predict", "--output", "x.npy", "--ckpt_path", "points.ckpt"])  # there is no such file
    assert "points.csv" not in capsys.readouterr().out
    for path, word in (
        ("points.csv", "no file 'points.csv'"),
        ("/etc/passwd", "must end in"),
        ("/dev/zero", "no file"),
    ):
        doctored(torch.load("points.ckpt"), "p.ckpt", "datamodule_hyper_parameters", path=path)
        with pytest.raises(SystemExit):
            entry.main([*COMMANDS["validate"], "p.ckpt"])
        said = capsys.readouterr()
        assert f"data.path: {path} (named by the checkpoint)" in said.out
        assert word in said.err


def test_a_checkpoint_that_lacks_the_units_of_its_network_is_refused(content, capsys):
    """It would give samples in other units, without a word: where the entry is missing, and where points have none."""
    model = content["hyper_parameters"]
    rest = {name: value for name, value in model["init_args"].items() if name != "standardisation"}
    torch.save(content | {"hyper_parameters": {**model, "init_args": rest}}, "odd.ckpt")
    torch.save(content | {"hyper_parameters": {"class_path": model["class_path"]}}, "bare.ckpt")
    torch.save(content | {"hyper_parameters": {**model, "init_args": None}}, "none.ckpt")
    data = to_config(PointsDataModule("points.csv", n_samples=50))
    torch.save(content | {"datamodule_hyper_parameters": data}, "points.ckpt")
    data = {**data, "class_path": "toy_score.data.PointsDataModule"}
    torch.save(content | {"datamodule_hyper_parameters": data}, "other_path.ckpt")
    for path, word in (
        ("odd.ckpt", "in which units its network works"),
        ("bare.ckpt", "in which units its network works"),
        ("none.ckpt", "in which units its network works"),
        ("points.ckpt", "lacks their standardisation"),
        ("other_path.ckpt", "lacks their standardisation"),
    ):
        assert word in refused(capsys, *COMMANDS["predict"], path)
    assert not os.path.exists("x.npy")


@pytest.mark.parametrize(
    ("part", "places", "said"),
    [
        ("loops", ("fit_loop", "epoch_progress", "total", "completed"), "cannot be restored"),
        ("loops", ("validate_loop", "batch_progress", "total", "ready"), "cannot be restored"),
        ("lr_schedulers", (0, "_step_count"), "does not hold the state of a training that can go on"),
    ],
)
@pytest.mark.parametrize("value", ["seven", [7]])
def test_counters_that_are_no_numbers_are_refused_before_a_run_begins(part, places, said, value, content, capsys):
    odd = copy.deepcopy(content)
    state = odd[part]
    for place in places[:-1]:
        state = state[place]
    state[places[-1]] = value
    torch.save(odd, "odd.ckpt")
    words = "--model EDMModule --data HeartDataModule --trainer.max_steps 4 --trainer.logger false --ema.decay 0"
    settings = [*words.split(), "--model.backbone.hidden", "[16]"]
    assert said in refused(capsys, "fit", *settings, "--ckpt_path", "odd.ckpt")
    if part == "loops":
        assert said in refused(capsys, "validate", "--ckpt_path", "odd.ckpt")
