"""The examples in the docstrings: each gives what is written below it.

They begin with `import torch` and `from toy_score import *`, as the first page of the reference says.
"""

import doctest
import importlib
import inspect
from pathlib import Path

import pytest
import torch

import toy_score as ts

MAIN = {
    "Cosine", "DDPM", "EDM", "VE", "VP", "LinearFlow", "SubVP", "Heart", "SplitNormal", "GaussianMixture",
    "ExactDenoiser", "Heun", "RungeKutta4", "evaluate", "fit", "plot", "Posterior", "Tilt", "FlowMap",
}  # fmt: skip
"""Names whose page in the reference must have an example."""

FILES = sorted(
    path.relative_to(Path(ts.__file__).parent.parent)
    for path in Path(ts.__file__).parent.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


def complaints(test):
    """What is wrong with the examples of a docstring; empty if nothing."""
    messages = []
    doctest.DocTestRunner().run(test, out=messages.append)
    return "".join(messages)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_examples_give_what_is_written_below_them(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))
    names = {"torch": torch, **{name: getattr(ts, name) for name in ts.__all__}}
    tests = [test for test in doctest.DocTestFinder().find(module, globs=names) if test.examples]
    assert tests
    assert not [found for test in tests if (found := complaints(test))]


def test_a_wrong_example_is_found():
    text = ">>> EDM(sigma_max=20.0).sigma(torch.ones(1))\ntensor([21.])\n"
    test = doctest.DocTestParser().get_doctest(text, {"torch": torch, "EDM": ts.EDM}, "planted", None, None)
    assert "tensor([20.])" in complaints(test)


@pytest.mark.parametrize("name", sorted(MAIN))
def test_the_main_names_have_an_example(name):
    assert "\n    >>> " in inspect.getdoc(getattr(ts, name))
