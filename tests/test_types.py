"""What a type checker knows of the package."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import toy_score

PACKAGE = Path(toy_score.__file__).parent


def names_for_type_checkers():
    """The imports under `if TYPE_CHECKING:` of the package, by the public name: the module and the name there."""
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    blocks = [node.body for node in body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {n.asname: (node.module, n.name) for block in blocks for node in block for n in node.names}


def test_type_checkers_see_the_same_names_as_the_lazy_import():
    lazy = {name: (f"toy_score.{room}", name) for name, room in toy_score._ROOM_OF.items()}
    assert names_for_type_checkers() == lazy


def test_the_package_is_marked_as_typed():
    assert (PACKAGE / "py.typed").is_file()


LIGHT = """[mypy]
[mypy-torch.*,numpy.*,matplotlib.*,lightning.*,scipy.*,torchmetrics.*,tensorboard.*,PIL.*]
follow_imports = skip
[mypy-toy_score.*]
follow_imports = skip
[mypy-toy_score,toy_score.samplers.*,toy_score.component.*]
follow_imports = normal
"""  # `make lint` checks the whole package; what a sampler does not need would take mypy most of a minute


def test_a_public_name_is_its_class_to_a_type_checker(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "light.ini").write_text(LIGHT)
    script = tmp_path / "script.py"
    script.write_text("from toy_score import Heun\nreveal_type(Heun(n_steps=3))\nHeun(n_step=3)\n")
    told = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(tmp_path / "light.ini"), str(script)],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    ).stdout
    assert 'Revealed type is "toy_score.samplers.ode.Heun"' in told
    assert 'Unexpected keyword argument "n_step" for "Heun"' in told
