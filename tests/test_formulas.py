"""Formulas of the docstrings are mathematics on the site, sign by sign; code stays code."""

import inspect
import re

import pytest

import toy_score as ts
from docs.docstrings import rewritten
from docs.formulas import displayed, latex, spaced


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("sigma(t) = sigma_min (sigma_max / sigma_min)^t", r"\sigma(t)=\sigma_{\min}(\sigma_{\max}/\sigma_{\min})^{t}"),
        ("sqrt(alpha^2 + sigma^2)", r"\sqrt{\alpha^{2}+\sigma^{2}}"),
        ("e^-h y_t + int_0^h e^(tau - h) D dtau", r"e^{-h}y_{t}+\int_{0}^{h}e^{\tau-h}Dd\tau"),
        ("prod_{j <= i} p_j(x)^b_j / Z", r"\prod_{j\lei}p_{j}(x)^{b_{j}}/Z"),
        ("D(x, t) = E[x_0 | x_t = x]", r"D(x,t)=E[x_{0}|x_{t}=x]"),
        ("dz / dphi = velocity", r"dz/d\phi=\mathrm{velocity}"),
        ("k_out e(c_in x) / c_in", r"k_{\text{out}}e(c_{\text{in}}x)/c_{\text{in}}"),
        ("-log p_r(x)", r"-\logp_{r}(x)"),
        ("x_t ~ N(0, r^2 I)", r"x_{t}\simN(0,r^{2}I)"),
        ("0 < s <= 5e-9", r"0<s\le5\cdot10^{-9}"),
    ],
)
def test_a_formula_keeps_its_signs(text, formula):
    assert re.sub(r"\s", "", latex(text)) == formula


@pytest.mark.parametrize(
    "text",
    [
        "n_steps", "sigma_min", "t_max", "(n, 2)", "(K + 1, n)", "denoise(x, t)", "score(x, t)", "log_prob(x, sigma)",
        "65_536", "EDM(sigma_min=0.02)", "x.std()", "max_time='1'", "--data Heart", "DPS", "2 n_steps - 1", "a(b", "x_",
    ],
)  # fmt: skip
def test_code_is_no_formula(text):
    assert latex(text) is None


def test_a_block_is_equations_only_if_each_line_is():
    assert displayed(["    x_t = alpha x_0,    eps ~ N(0, I)    (Ho et al. 2020)."])[0].endswith(
        r"\text{(Ho et al. 2020).}"
    )
    assert displayed(["    x_t = alpha x_0", "    fit(EDMModule(), Heart())"]) is None


def test_a_docstring_keeps_its_tables_its_code_and_its_examples():
    text = inspect.cleandoc(
        """Title with `sigma / alpha`.

        | rule | V |
        |---|---|
        | `DPS` | `r^2 J` |

            make docs

        Args:
            x: points `(n, 2)` at `t = 0`.

        Example:
            >>> VE()  # `t = 0`
        """
    )
    lines = [line for line in rewritten(text.splitlines()) if line]
    assert lines == [
        r"Title with :math:`\sigma / \alpha`.",
        ".. list-table::",
        "   :header-rows: 1",
        "   * - rule",
        "     - V",
        "   * - `DPS`",
        "     - :math:`r ^{2} J`",
        ".. code-block:: text",
        "    make docs",
        "Args:",
        "    x: points `(n, 2)` at :math:`t = 0`.",
        "Example:",
        "    >>> VE()  # `t = 0`",
    ]


def latex2mathml():
    return pytest.importorskip(
        "docutils.utils.math.latex2mathml", reason="docutils comes with pip install -e '.[docs]'"
    )


@pytest.mark.parametrize(
    ("formula", "spaces"),
    [
        (r"\nabla \log p", "∇_log_p"),
        (r"(-\log p(x))", "(\N{MINUS SIGN}log_p(x))"),
        (r"2 \exp(x)", "2_exp(x)"),
        (r"f(x) \cos x", "f(x)_cos_x"),
    ],
)
def test_the_name_of_a_function_has_thin_spaces_as_in_tex(formula, spaces):
    mathml = re.sub("<mspace[^>]*>", "_", spaced(latex2mathml().tex2mathml(formula)))
    assert re.sub(r"<[^>]*>|&ApplyFunction;|\s", "", mathml) == spaces


def test_every_formula_of_the_reference_is_mathml():
    mathml = latex2mathml()
    found = 0
    for name in ts.__all__:
        module = inspect.getmodule(getattr(ts, name))
        for line in [
            *rewritten((module.__doc__ or "").splitlines()),
            *rewritten(inspect.getdoc(getattr(ts, name)).splitlines()),
        ]:
            for formula in re.findall(r":math:`([^`]*)`", line):
                mathml.tex2mathml(formula)
                found += 1
    assert found > 200
