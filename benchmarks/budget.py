"""Where the error of trained networks comes from: the error budgets of `docs/error_budget.md`.

    python -m benchmarks.budget [--runs DIR]

Trains the networks unless their runs are in DIR already, asks for their budgets by the command line, and writes
`benchmarks/results/budget.md`, `.json` and the pictures in `docs/images/`. The network of the study, which was trained
with noise up to 5 only, is asked twice: by the study's own sampler, and by a solver of the probability flow.
"""

import argparse
import json
import re
import shutil
import tempfile
from pathlib import Path

from benchmarks.quality import command, machine

ROOT = Path(__file__).resolve().parents[1]
STUDY = "original/ncsn_heart"
HEUN = ("--model.sampler", "Heun", "--model.sampler.n_steps", "40")
CASES = {
    "ncsn_heart": ("ncsn_heart", ()),
    "ddpm_heart": ("ddpm_heart", ()),
    "edm_heart": ("edm_heart", ()),
    "study": (STUDY, ()),
    "study_heun": (STUDY, HEUN),
}


def main() -> None:
    """Measure all cases; those that are there already are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default=None)
    runs = Path(parser.parse_args().runs or tempfile.mkdtemp()).resolve()
    results, tables = {}, [machine(), ""]
    for name, (config, flags) in CASES.items():
        output = runs / f"{name}.json"
        if not output.exists():
            argv = ["test", "--ckpt_path", checkpoint(runs, config), "--budget", "true", "--output", output, *flags]
            said = command(runs, *argv)
            (runs / f"{name}.txt").write_text(re.search(r"error budget of .*?(?=\n\n?metrics:)", said, re.DOTALL)[0])
        results[name] = json.loads(output.read_text())["error_budget"]
        tables += ["```", (runs / f"{name}.txt").read_text().rstrip(), "```", ""]
        shutil.copy(runs / f"{name}_budget.png", ROOT / f"docs/images/budget_{name}.png")
        print("\n".join(tables[-4:]), flush=True)
    (ROOT / "benchmarks/results/budget.json").write_text(json.dumps(results, indent=1) + "\n")
    (ROOT / "benchmarks/results/budget.md").write_text("\n".join(tables))


def checkpoint(runs: Path, config: str) -> Path:
    """The checkpoint of a config, trained if need be."""
    pattern = f"lightning_logs/{config.replace('/', '_')}/version_*/checkpoints/last.ckpt"
    found = sorted(runs.glob(pattern))
    if not found:
        command(runs, "fit", "--config", config)
        found = sorted(runs.glob(pattern))
    return found[-1]


if __name__ == "__main__":
    main()
