r"""`completion`: a script that lets a shell complete the words of the commands.

All words are in the script, so that nothing is started when the Tab key is pressed. It is a function of bash; zsh runs
it with `bashcompinit`. Runs and files are looked up by the shell.
"""

import sys

from toy_score.catalog import KINDS, arguments, entries
from toy_score.commands.errors import refuse
from toy_score.commands.help import CALLBACKS, TRAINER
from toy_score.commands.options import COMMANDS, OPTIONS

__all__ = ["run", "script"]

SHELLS = ("bash", "zsh")
OTHERS = {
    "compare": (
        "output",
        "samplers",
        "n_steps",
        "full",
        "n_samples",
        "seeds",
        "seed",
        "device",
        "figures",
        "overwrite",
    ),
    "play": ("data", "output", "overwrite"),
}
"""Options of the commands that have a parser of their own."""

FUNCTION = """\
_toy_score() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} choices files=no
  case $before in
$values
    *) case ${COMP_WORDS[1]} in
$flags
      *) choices="$commands" ;;
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$choices" -- "$word"))
  if [[ $files = yes || ( ${#COMPREPLY[@]} -eq 0 && $word != -* ) ]]; then
    COMPREPLY+=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _toy_score toy-score
"""


def run(argv: list[str]) -> None:
    """Print the script for a shell."""
    if len(argv) != 1 or argv[0] not in SHELLS:
        sys.exit(refuse(f"completion is for {' or '.join(SHELLS)}, got {' '.join(argv) or 'none'}; eval its output"))
    print(script(argv[0]), end="")


def script(shell: str) -> str:
    """The script, for bash or zsh."""
    modules = _names("modules")
    data = ["PointsDataModule", *(f"{name}DataModule" for name in _names("distributions") if name != "Points")]
    runs = 'latest $(compgen -G "lightning_logs/*/version_*")'
    values = {
        "--config": " ".join(entry.name for entry in entries("configs")),
        "--ckpt_path|--init_from": runs,
        "--model": " ".join(modules),
        "--data": " ".join(data),
        "--model.sampler": " ".join(_names("samplers")),
        "--model.schedule": " ".join(_names("schedules")),
        "--model.backbone": " ".join(_names("backbones")),
        "--model.parameterisation": " ".join(_names("parameterisations")),
        "--model.objective": " ".join(_names("objectives")),
        "list": " ".join(KINDS),
        "completion": " ".join(SHELLS),
    }
    files = {"--config", "--ckpt_path|--init_from"}
    cases = [
        f'    {flag}) choices="{words}"{" files=yes" if flag in files else ""} ;;' for flag, words in values.items()
    ]
    flags = [f'      {name}) choices="{" ".join(_flags(name))}" ;;' for name in COMMANDS]
    for name, its in OTHERS.items():
        flags.append(f'      {name}) choices="{runs} {" ".join(f"--{flag}" for flag in its)}" ;;')
    text = FUNCTION.replace("$values", "\n".join(cases)).replace("$flags", "\n".join(flags))
    text = text.replace("$commands", " ".join([*COMMANDS, *OTHERS, "list", "completion"]))
    return ("autoload -U bashcompinit && bashcompinit\n" if shell == "zsh" else "") + text


def _names(kind: str) -> list[str]:
    return [entry.name.partition("(")[0] for entry in entries(kind)]


def _flags(command: str) -> list[str]:
    """The flags of a command: its options, and the settings of model, data, callbacks and trainer."""
    own = [f"--{name}" for name, option in OPTIONS.items() if command in option.commands]
    settings = [f"--trainer.{name}" for name in TRAINER]
    for section, cls in {"model": "ScoreModule", "data": "ToyDataModule", **CALLBACKS}.items():
        if section in CALLBACKS and command != "fit":
            continue
        settings += [f"--{section}.{argument.name}" for argument in arguments(cls)]
    return ["--config", "--help", "--print_config", "--model", "--data", *own, *settings]
