"""Settings are merged once, as plain values: a checkpoint below configs below flags, over the defaults of the code."""

import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import yaml

from toy_score import EDMModule, Heun, ScoreModule
from toy_score.commands.arguments import Text, parse
from toy_score.commands.build import instantiated
from toy_score.commands.complete import complete, complete_arguments
from toy_score.commands.settings import merged
from toy_score.component import check_config, from_config, to_config
from toy_score.training import written_out
from toy_score.yaml_values import dump, load


@pytest.fixture(scope="module")
def edm():
    return complete({"class_path": "EDMModule", "sampler": "Heun"}, ScoreModule, None, "model")


def flags(*argv):
    """The change of the model that these words make."""
    return parse("fit", ["--model", "EDMModule", "--data", "HeartDataModule", *argv]).flags["model"]


def changed(edm, *argv):
    return complete(flags(*argv), ScoreModule, edm, "model")["init_args"]


def refused(edm, *argv):
    with pytest.raises(ValueError) as error:  # noqa: PT011  the message is what is tested
        changed(edm, *argv)
    return str(error.value)


def test_a_completed_description_equals_that_of_the_object(edm):
    check_config(edm, ScoreModule, "model")
    assert edm == to_config(EDMModule(sampler=Heun()))
    assert complete("EDMModule", ScoreModule, None, "model") == to_config(EDMModule())


def test_another_class_starts_from_its_own_defaults(edm):
    sampler = {"class_path": "Heun", "init_args": {"n_steps": 3}}
    once = complete({"sampler": sampler}, ScoreModule, edm, "model")
    assert once["init_args"]["sampler"]["init_args"] == {
        "n_steps": 3,
        "grid": edm["init_args"]["sampler"]["init_args"]["grid"],
    }
    same = complete({"sampler": {"class_path": "Heun"}}, ScoreModule, once, "model")
    assert same["init_args"]["sampler"]["init_args"]["n_steps"] == 3
    other = complete({"sampler": "Euler"}, ScoreModule, once, "model")
    assert other["init_args"]["sampler"]["init_args"]["n_steps"] == 100
    optimizer = complete({"optimizer": "SGD"}, ScoreModule, once, "model")["init_args"]["optimizer"]
    assert optimizer == {"class_path": "torch.optim.SGD", "init_args": {}}


def test_a_setting_within_a_default_needs_no_name_of_its_class(edm):
    assert changed(edm, "--model.backbone.hidden", "[64,64]")["backbone"]["init_args"]["hidden"] == [64, 64]
    assert changed(edm, "--model.optimizer.lr", "1e-3")["optimizer"]["init_args"] == {"lr": 0.001, "fused": True}
    assert changed(edm, "--model.sampler.grid.rho", "5")["sampler"]["init_args"]["grid"]["init_args"] == {"rho": 5.0}


def test_the_order_of_flags_does_not_matter(edm):
    words = ["--model.sampler", "DDIM", "--model.sampler.n_steps", "7", "--model.sampler.grid", "Uniform"]
    assert changed(edm, *words) == changed(edm, *words[4:], *words[2:4], *words[:2])
    with_init_args = ["--model.init_args.sampler", "DDIM", "--model.sampler.init_args.n_steps", "7"]
    assert changed(edm, *with_init_args, *words[4:]) == changed(edm, *words)


def test_merging_a_change_leaves_the_settings_below_unchanged(edm):
    before = dump(edm)
    changed(edm, "--model.sampler.n_steps", "3", "--model.backbone.hidden", "[8]")
    assert dump(edm) == before


@pytest.mark.parametrize(
    ("words", "argument", "value"),
    [
        (["--model.gradient_clip", "1"], "gradient_clip", 1.0),  # a float, as annotated
        (["--model.gradient_clip", "null"], "gradient_clip", None),
        (["--model.gradient_clip=1e-3"], "gradient_clip", 0.001),
        (["--model.label", "2"], "label", 2),
        (["--model.guide", "2024"], "guide", "2024"),  # a path that looks like a number
        (["--model.guide", "null"], "guide", None),
    ],
)
def test_words_get_the_type_of_the_argument(edm, words, argument, value):
    found = changed(edm, *words)[argument]
    assert found == value
    assert type(found) is type(value)


def test_a_list_of_numbers_gets_the_types_of_the_argument(edm):
    units = changed(edm, "--model.standardisation", "Standardisation", "--model.standardisation.mean", "[0, 1]",
                    "--model.standardisation.scale", "[1, 2]")["standardisation"]  # fmt: skip
    assert str(units["init_args"]) == "{'mean': [0.0, 1.0], 'scale': [1.0, 2.0], 'columns': ['x', 'y']}"


def test_null_stands_for_the_default_of_a_part_that_must_be_there(edm):
    assert changed(edm, "--model.backbone", "null") == edm["init_args"]
    assert complete({"optimizer": None}, ScoreModule, edm, "model") == edm


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model.lr 1", "model: EDMModule has no argument 'lr'; did you mean model.optimizer.lr?"),
        ("--model.sampler.sigma_max 1", "Heun has no argument 'sigma_max'; did you mean model.schedule.sigma_max?"),
        ("--model.sampler.n_step 1", "model.sampler: Heun has no argument 'n_step'; did you mean n_steps?"),
        ("--model.sampler Huen", "model.sampler: there is no Sampler 'Huen'; did you mean Heun?"),
        ("--model.sampler Zzzz", "model.sampler: there is no Sampler 'Zzzz'; see `list samplers`"),
        ("--model.sampler toy_score.Hein", "model.sampler: there is no class 'toy_score.Hein'; did you mean Heun?"),
        ("--model.sampler toy_score.VE", "model.sampler: toy_score.VE is not a Sampler"),
        ("--model.sampler no.Thing", "model.sampler: there is no class 'no.Thing': No module named 'no'"),
        ("--model.sampler Sampler", "choose a concrete Sampler, for example --model.sampler AdamsBashforth (see `list"),
        ("--model.standardisation.mean [0,0]", "model.standardisation: Standardisation needs scale; add"),
        ("--model.sampler.n_steps many", "model.sampler.n_steps: must be of type int, got 'many'"),
        ("--model.sampler.n_steps", "--model.sampler.n_steps needs a value"),
        ("--model.standardisation Standardisation", "model.standardisation: Standardisation needs mean; add"),
        ("--model.optimizer os.system", "model.optimizer: os.system is not a Optimizer"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_the_known_names(edm, words, message):
    assert message in refused(edm, *words.split())


def test_the_trainer_takes_callbacks_and_loggers_by_their_classes(tmp_path):
    monitor = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss", "patience": 2}}
    logger = {"class_path": Text("CSVLogger"), "save_dir": Text(tmp_path)}
    arguments = complete_arguments(pl.Trainer, {"callbacks": [monitor], "logger": logger}, {}, "trainer")
    (callback,) = instantiated(arguments["callbacks"])
    assert isinstance(callback, pl.callbacks.EarlyStopping)
    assert callback.patience == 2
    assert isinstance(instantiated(arguments["logger"]), pl.loggers.CSVLogger)
    with pytest.raises(ValueError, match="there is no Callback 'EarlyStoping'; did you mean EarlyStopping"):
        complete_arguments(pl.Trainer, {"callbacks": Text("EarlyStoping")}, {}, "trainer")
    settings = {"max_time": Text("00:00:10:00"), "precision": Text("32"), "devices": Text("2"), "logger": Text("false")}
    arguments = complete_arguments(pl.Trainer, settings, {}, "trainer")
    assert arguments == {"max_time": "00:00:10:00", "precision": 32, "devices": 2, "logger": False}


def test_configs_beat_the_checkpoint_and_flags_beat_configs(edm, tmp_path):
    stored = {"model": complete({"sampler": {"n_steps": 1}, "noise_seed": 1, "label": 1}, ScoreModule, edm, "model")}
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text(
        "model: {class_path: EDMModule, init_args: {noise_seed: 2, label: 2, sampler: {class_path: Heun}}}"
    )
    second.write_text("{model: {init_args: {noise_seed: 3}}, data: HeartDataModule, trainer: {max_steps: 5}}")
    given = parse("fit", ["--model.label", "4", "--config", str(first), "--config", str(second)])
    settings = merged(given, stored)
    arguments = settings["model"]["init_args"]
    assert (arguments["noise_seed"], arguments["label"], arguments["sampler"]["init_args"]["n_steps"]) == (3, 4, 1)
    assert settings["trainer"]["max_steps"] == 5
    assert settings["trainer"]["num_sanity_val_steps"] == 0
    again = tmp_path / "again.yaml"
    again.write_text(written_out(settings))
    assert merged(parse("fit", ["--config", str(again)]), {}) == settings
    from_config(settings["model"], ScoreModule)


def test_an_argument_of_the_data_that_is_given_to_the_model_is_found(tmp_path):
    given = parse("fit", ["--config", "edm_heart", "--model.batch_size", "3"])
    with pytest.raises(ValueError, match=r"no argument 'batch_size'; did you mean data\.batch_size\?"):
        merged(given, {})


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1E5", 1e5), (".5", 0.5), ("-3", -3), ("1_000", 1000), ("00:10:00", "00:10:00"), ("1.", 1.0),
     (".inf", float("inf")), ("-.inf", float("-inf")), ("1e", "1e"), ("yes", True), ("[1e-3, a]", [0.001, "a"])],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them_and_survive_dumping(text, value):
    assert load(text) == value
    assert type(load(text)) is type(value)
    assert load(dump({"x": value})) == {"x": value}
    assert yaml.safe_load(dump({"x": value})) == {"x": value}
    assert load(dump({"x": text})) == {"x": text}


LIGHT = (
    "import sys; from toy_score.__main__ import main\ntry: main(sys.argv[1:])\nfinally: print('torch' in sys.modules)"
)


@pytest.mark.parametrize(
    "words",
    ["fit --help", "fit --config edm_heart --help", "fit --model.help NCSNModule", "test --help", "list --help",
     "compare --help", "fitt", "fit --config nothing", "fit", "predict", "predict --ckpt_path nowhere", "list colours",
     "fit --confg x", "test --budget maybe", "compare a --output b --samplrs c", "predict word"],
)  # fmt: skip
def test_help_and_wrong_commands_import_nothing_heavy(words, tmp_path):
    done = subprocess.run([sys.executable, "-c", LIGHT, *words.split()], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip().endswith("False")
    assert done.returncode == (0 if "help" in words else 2)
    assert len(done.stderr.splitlines()) == (0 if "help" in words else 1)


def test_help_shows_the_settings_of_the_chosen_config_first_and_cuts_nothing(capsys, monkeypatch):
    from toy_score import __main__ as entry

    monkeypatch.setenv("COLUMNS", "100")
    entry.main(["fit", "--config", "edm_heart", "--model.sampler", "Euler", "--help"])
    said = capsys.readouterr().out
    assert "\nModel: EDMModule\n" in said
    assert "\nData: HeartDataModule\n" in said
    assert "--model.sampler Euler" in said
    places = [said.index(f"\n  {option}") for option in ("--name", "--model.sampler", "--data.n_train", "--trainer.")]
    assert places == sorted(places)
    assert "..." not in said
    assert max(map(len, said.splitlines())) <= 120
    assert len(said.splitlines()) < 160
    entry.main(["fit", "--trainer.help"])
    assert "--trainer.gradient_clip_algorithm" in capsys.readouterr().out


def test_boolean_options_need_no_value():
    argv = ["--ckpt_path", str(Path(__file__)), "--budget", "--papers", "false", "--likelihood=true", "--overwrite"]
    options = parse("test", argv).options
    assert [options[name] for name in ("budget", "papers", "likelihood", "overwrite", "fields")] == [
        True, False, True, True, False,
    ]  # fmt: skip
