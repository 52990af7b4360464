"""The causes of the errors of trained networks: the error budgets of `docs/error_budget.md`.

    python -m docs.figures.budget [--runs DIR] [CASE ...]

Trains the networks unless their runs are in DIR already, measures their error budgets by the command line, and writes
`docs/tables/budget.md` and the pictures in `docs/images/`. One network is trained with the original study's noise
levels, up to 5 only, and measured with two samplers: Heun's method, and annealed Langevin dynamics from a uniform
start.
"""

import argparse
import re
import shutil
import tempfile
from pathlib import Path

from benchmarks.timing import command, machine
from docs.figures.parts import IMAGES, TABLES, trained

NARROW = ("--model.schedule.sigma_max", "5", "--trainer.max_steps", "3000")
QUICK = ("--model.sampler", "RungeKutta4", "--model.sampler.n_steps", "5", "--model.sampler.grid", "Angular")
HEUN = ("--model.sampler", "Heun", "--model.sampler.n_steps", "40")
CHAIN = ("--model.sampler", "DDPMAncestral", "--model.sampler.variance", "forward", "--n_samples", "5000")
LANGEVIN = ("--model.sampler", "AnnealedLangevin", "--model.sampler.steps_per_level", "10")
COARSE = (*LANGEVIN, "--model.sampler.n_levels", "40", "--model.sampler.eps", "0.0001")
UNIFORM = (*COARSE, "--model.sampler.uniform_start", "1.5", "--n_samples", "2000")
CASES = {
    "edm_heart": ("edm_heart", (), QUICK),
    "ncsn_heart": ("ncsn_heart", (), COARSE),
    "ddpm_heart": ("ddpm_heart", (), CHAIN),
    "narrow_heun": ("ncsn_heart", NARROW, HEUN),
    "narrow_uniform": ("ncsn_heart", NARROW, UNIFORM),
}
"""By name: the config, flags of `fit`, flags of `test`."""


def main() -> None:
    """Measure the cases whose results are not yet in DIR."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default=None)
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    runs = Path(arguments.runs or tempfile.mkdtemp()).resolve()
    for name in arguments.cases or CASES:
        config, fit, test = CASES[name]
        table = runs / f"{name}.txt"
        if not table.exists():
            argv = ["test", "--ckpt_path", trained(config, runs, *fit), "--output", f"{name}.json", *test]
            printed = command(runs, *argv, "--budget", "true", "--overwrite", "true")
            table.write_text(re.search(r"error budget of .*?(?=\n\n?metrics:)", printed, re.DOTALL)[0].rstrip() + "\n")
        shutil.copy(runs / f"{name}_budget.png", IMAGES / f"budget_{name}.png")
        print(table.read_text(), flush=True)
    tables = [f"```\n{table.read_text()}```\n" for name in CASES if (table := runs / f"{name}.txt").exists()]
    (TABLES / "budget.md").write_text("\n".join([machine() + "\n", *tables]))


if __name__ == "__main__":
    main()
