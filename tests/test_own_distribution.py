"""The example of docs/distributions.md, as a user would follow it."""

import json
import re
from pathlib import Path

import pytest

from toy_score import __main__ as entry

PAGE = Path(__file__).parents[1] / "docs/distributions.md"
QUICK = ["--trainer.max_steps", "2", "--trainer.accelerator", "cpu", "--data.n_val", "64", "--pictures.n_samples", "50"]


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """The page's two blocks of Python, the first as a module in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert len(blocks) == 2
    Path("cross.py").write_text(blocks[0])
    return blocks


def test_the_documented_check_of_the_documented_distribution_passes_and_would_find_an_error(blocks):
    names = {}
    exec(blocks[0], names)
    exec(blocks[1], names)
    cross = names["Cross"]
    exact = cross.score
    cross.score = lambda self, x, sigma: 0.999 * exact(self, x, sigma)
    with pytest.raises(AssertionError):
        exec(blocks[1], names)


def test_a_distribution_of_the_users_own_is_trained_and_tested_by_the_command_line(blocks, capsys):
    data = ["--data", "cross.CrossDataModule", "--data.short", "0.1"]
    entry.main(["fit", "--config", "edm_heart", *data, *QUICK])
    run = Path("lightning_logs/edm_heart/version_0")
    assert "short: 0.1" in (run / "config.yaml").read_text()
    checkpoint = ["--ckpt_path", str(run / "checkpoints/last.ckpt")]
    argv = ["--n_samples", "200", "--output", "metrics.json", "--model.sampler", "Euler", "--data.repeats", "1"]
    entry.main(["test", *checkpoint, *data, *argv])
    metrics = json.loads(Path("metrics.json").read_text())
    assert metrics["mode_weights"].keys() == {"0", "1"}
