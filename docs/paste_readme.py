"""Run all commands of the README, and its Python, one after the other in a fresh clone; stop at the first that fails.

    python docs/paste_readme.py            # as a new user would, with an environment of its own; some ten minutes
    python docs/paste_readme.py --quick    # in the environment of this Python, without make, with short trainings

Only what is committed is in the clone. `tensorboard` is stopped after a while, because it does not end by itself.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SETUP = """\
set -eEo pipefail
trap 'echo "README.md fails at: $BASH_COMMAND" >&2' ERR
tensorboard() { timeout 20 tensorboard "$@" || test $? = 124; }
"""

# `python` adds what makes a command short; it stands last and so wins.
QUICK = """\
make() { echo "make is left out"; }
python() {
  case "$1 $2 $3" in
    "-m toy_score fit") set -- "$@" --trainer.max_steps 20 ;;
    "-m toy_score test" | "-m toy_score predict") set -- "$@" --n_samples 500 ;;
    "-m toy_score compare") set -- "$@" --n_samples 200 --seeds 1 --n_steps 2 ;;
  esac
  command python "$@"
}
"""


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and text of the fenced blocks in bash and Python, in order."""
    return re.findall(r"^```(bash|python)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def script(text: str, quick: bool) -> str:
    """All blocks as one bash script, which prints each block before it runs it."""
    parts = [SETUP + QUICK * quick]
    for language, block in blocks(text):
        command = block if language == "bash" else f"python - <<'END'\n{block}END\n"
        parts.append(f"cat <<'SHOWN'\n\n{command}SHOWN\n{command}")
    return "".join(parts)


def main() -> int:
    """Paste the README into a clone; the exit code of the command that failed, or 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="this environment, no make, short trainings")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "toy_score"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
        if options.quick:
            if not (Path(sys.prefix) / "bin/activate").is_file():
                sys.exit(f"error: {sys.executable} is in no virtual environment; run .venv/bin/python {sys.argv[0]}")
            (clone / ".venv").symlink_to(sys.prefix)
            environment["PYTHONPATH"] = str(clone)  # the environment has this checkout installed, not the clone
        commands = script((clone / "README.md").read_text(encoding="utf-8"), options.quick)
        return subprocess.run(["bash", "-c", commands], cwd=clone, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
