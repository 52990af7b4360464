"""Configs and command lines that are changed at random."""

import random
from pathlib import Path
from typing import Any

import yaml

import toy_score
from campaign.commands import MODEL
from campaign.inputs.trial import ENDLESS, EVIL, HOSTILE, LAUGHS, WORDS, Kind, Trial, damaged, places, replaced
from toy_score.__main__ import main
from toy_score.catalog import configs_folder
from toy_score.commands.arguments import parse
from toy_score.commands.options import OPTIONS
from toy_score.commands.settings import merged
from toy_score.training import written_out

__all__ = ["SETTINGS", "prepare"]

OBSERVED = "--model.observation.matrix [[1.0,0.0]] --model.observation.value [1.0] --model.observation.std 0.3"
CHOSEN = [
    f"--model EDMModule --data HeartDataModule {OBSERVED} --model.rule DPS",
    "--model EDMModule --data TwoMoonsInferenceDataModule --data.labels true --model.backbone.n_conditions 2 "
    "--model.condition [0.1,0.2]",
    "--model BridgeModule --data MoonsDataModule --model.source SplitNormal --model.coupling OptimalTransport",
    "--model SchrodingerBridgeModule --data MoonsDataModule --model.coupling EntropicTransport",
    "--model BridgeModule --data HeartDataModule --model.reflow good/checkpoints/last.ckpt",
    "--model FlowMapModule --data HeartDataModule --model.objective MeanFlow",
]
"""Settings that no config has."""


def prepare(folder: Path) -> Any:
    """The texts of all configs, as they are and with all settings that they leave at their defaults."""
    (folder / "good").mkdir()
    main(f"fit {MODEL} --trainer.max_steps 2 --trainer.logger false --trainer.accelerator cpu".split())
    (folder / "checkpoints").rename(folder / "good/checkpoints")
    (folder / "config.yaml").rename(folder / "good.yaml")
    configs = sorted(configs_folder().rglob("*.yaml"))
    short = [path.read_text() for path in configs if "base:" not in path.read_text()]
    given = [*(["--config", str(path)] for path in configs), *(words.split() for words in CHOSEN)]
    return short, [written_out(merged(parse("fit", words), {})) for words in given]


def _setting(chance: random.Random, texts: tuple[list[str], list[str]], folder: Path) -> Trial:
    (folder / "evil.py").write_text(EVIL)
    text, how = chance.choice(chance.choice(texts)), chance.randrange(10)
    tree = yaml.safe_load(text)
    flags = _flags(chance, tree) if chance.random() < 0.4 or how >= 8 else []
    if how == 9:
        return _comparison(chance)
    if how < 3:
        what, content = "config, text", damaged(chance, text.encode())
    elif how == 3 and chance.random() < 0.1:
        what, content = "config, bombs", chance.choice([LAUGHS, text + LAUGHS, ENDLESS, f"model: {ENDLESS}"]).encode()
        if chance.random() < 0.3:
            content = text.encode().replace(b"data:", b"model: {sampler: " + LAUGHS[3:].encode() + b"}\ndata:")
    elif how < 8:
        for _ in range(chance.choice([1, 1, 2, 4])):
            tree = replaced(chance, tree)
        trainer = tree.get("trainer") if isinstance(tree, dict) else None
        if isinstance(trainer, dict) and trainer.get("default_root_dir") == "../outside":
            trainer["default_root_dir"] = "inside"
        what, content = "config, tree", yaml.safe_dump(tree, allow_unicode=True).encode()
    else:
        what, content = "command line", text.encode()
    (folder / "odd.yaml").write_bytes(content)
    command = chance.choice([*[["fit"]] * 4, ["predict", "--output", "x.npy"], ["test", "--output", "x.json"]])
    start = [] if command == ["fit"] and chance.random() < 0.9 else ["--ckpt_path", "good"]
    argv = [*command, *start, "--config", "odd.yaml", *flags]
    return Trial(what, argv, content.decode(errors="replace") + " ".join(argv))


def _flags(chance: random.Random, tree: Any) -> list[str]:
    found: list[str] = []
    names = [".".join(map(str, path)) for path in places(tree)] if isinstance(tree, dict) else []
    for _ in range(chance.choice([1, 1, 2, 5])):
        name = chance.choice([*WORDS, *(f"--{name}" for name in [*OPTIONS, *names])])
        value = chance.choice(HOSTILE)
        if name == "--trainer.default_root_dir" and value == "../outside":
            value = "inside"  # runs may be kept in any folder that a user names
        written = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).split("\n...")[0]
        how = chance.randrange(8)
        found += [name] if how == 0 else [f"{name}={written}"] if how == 1 else [name, written.strip()]
        if how == 2:
            found[-2] = found[-2][: chance.randrange(len(found[-2]) + 1)]
    return found


def _comparison(chance: random.Random) -> Trial:
    pieces = [
        *"()[],=.*+'\n",
        "Heun",
        "own",
        "eta=0.5",
        "n_steps=",
        "grid=",
        "Karras",
        "1e9",
        "-1",
        "__import__",
        "lambda: 0",
    ]
    pieces += [
        "DDIM(eta=0.5)",
        "PredictorCorrector(predictor=",
        "evil.Evil",
        "9" * 5000,
        "1 if 1 else 2",
        "\0",
        "(" * 300,
    ]
    pieces += chance.sample(toy_score.__all__, 3)
    samplers = "".join(chance.choices(pieces, k=chance.choice([1, 2, 4, 7])))
    argv = ["compare", "good", "--output", "D", f"--samplers={samplers}"]
    for _ in range(chance.choice([0, 0, 1, 2])):
        option = chance.choice(["--n_steps", "--n_samples", "--seeds", "--seed", "--device", "--overwrite", "--outptu"])
        argv += [option, str(chance.choice(HOSTILE))]
    return Trial("compare, command line", argv, " ".join(argv))


SETTINGS = Kind(prepare, _setting)
