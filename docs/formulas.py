r"""Formulas of the docstrings as mathematics.

A docstring is read in a terminal and in an editor more often than in a browser, so it writes `sigma(t) = sigma_min
(sigma_max / sigma_min)^t`, in the letters of the keyboard. The site writes the same, sign by sign, in LaTeX:

    words       alpha, eps, pi: Greek letters; log, sqrt, arctan: functions; dt, dphi: differentials
    brackets    x_0, sigma_min, sum_i, x^2, r^(1 / rho), e^-h, sqrt(alpha^2 + sigma^2)
    relations   <=, ->, ~, +-, ...

What has another sign or word in it is code, and stays as it is: `n_steps`, `denoise(x, t)`, `(n, 2)`, `"x"`.

Browsers set the name of a function without the thin spaces that TeX has around it; `spaced` adds them to the MathML.
"""

import re

__all__ = ["displayed", "in_sentences", "latex", "spaced"]

GREEK = "alpha beta gamma delta epsilon eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega Phi Sigma"
FUNCTIONS = "log exp cos sin tan arctan sinh cosh tanh min max sup det"
WORDS = {name: rf"\{name}" for name in f"{GREEK} {FUNCTIONS}".split()} | {
    "eps": r"\varepsilon",
    "grad": r"\nabla",
    "int": r"\int",
    "prod": r"\prod",
    "sum": r"\sum",
}
NAMES = (
    "bounds denoise div expm1 kernel KL map mean noise power radius reward scale score shift sign snr step target tr "
    "variance velocity weight"
)
"""Functions and numbers with a whole word as a name: mathematics in an equation, by themselves code."""
RELATIONS = ["=", "<", ">", "<=", ">=", "->", "<-", "~", "+", "-", "/", "^", "+-", "|", "||", "*"]
SIGNS = {
    "...": r"\ldots",
    "<=": r"\le",
    ">=": r"\ge",
    "->": r"\to",
    "<-": r"\leftarrow",
    "~": r"\sim",
    "+-": r"\pm",
    "||": r"\|",
    "*": r"\ast",
    ".": r"\cdot",
}
TOKEN = re.compile(r"\s+|\d+(?:\.\d+)?(?:e-?\d+)?|[A-Za-z]+\d?|<=|>=|<-|->|\+-|\|\||\.\.\.|.")
CLOSING = {"(": ")", "{": "}", "[": "]"}
CODE = re.compile(
    r"[a-z\])]=|=[\w\[(]"  # f(x=1)
    r"|[a-zA-Z_)]\.\w|\b\d+_\d|\bn_\w\w+|\blog_\w|_\w+_"  # x.T, 65_536, n_steps, log_prob
    r"|^\([\w +,-]*,[\w +,-]*\)"  # a shape
    rf"|^(?:\w{{2,}}_[a-z]\w+|t_m\w+|{FUNCTIONS.replace(' ', '|')})$"  # sigma_min, the argument
)


FUNCTION = rf"<mi>(?:{FUNCTIONS.replace(' ', '|')})</mi>"
"""As docutils writes it."""


class NoFormulaError(ValueError):
    """The text is code or prose."""


def latex(text: str) -> str | None:
    """A formula in LaTeX; None if the text is none.

    A number, a shape such as `(n, 2)`, the name of an argument and a call such as `score(x, t)` are none by themselves.
    """
    tokens = TOKEN.findall(text)
    words = [token for token in tokens if token[0].isalpha()]
    named = any(word in NAMES.split() for word in words)
    if not words or CODE.search(text) or (named and not any(token in RELATIONS for token in tokens)):
        return None
    try:
        formula, rest = _several(tokens, None)
    except NoFormulaError:
        return None
    return None if rest else re.sub(r" +", " ", formula).strip()


def in_sentences(text: str) -> str:
    """reStructuredText whose backquoted formulas are mathematics."""
    return re.sub(r"(?<![`:])`([^`]+)`(?![`_])", lambda found: _role(found[0], found[1]), text)


def _role(code: str, text: str) -> str:
    formula = latex(re.sub(r"\s+", " ", text))
    return code if formula is None else f":math:`{formula}`"


def spaced(mathml: str) -> str:
    """The MathML of docutils with thin spaces around the names of functions.

    Before a name there is one after what may be a factor; behind a name, unless a bracket opens.
    """
    space = '<mspace width="0.1667em"></mspace>'
    behind = r"</m(?:i|n|sub|sup|subsup|frac|sqrt)>|<mo[^>]*>[)\]]</mo>"
    mathml = re.sub(rf"({behind})(\s*)({FUNCTION})", rf"\1\2{space}\3", mathml)
    return re.sub(rf"({FUNCTION}\s*<mo>&ApplyFunction;</mo>)(?!\s*<mo[^>]*>[(\[{{])", rf"\1{space}", mathml)


def displayed(lines: list[str]) -> list[str] | None:
    """The lines of an indented block as equations in LaTeX; None if one of them is none.

    Wide spaces stand between the parts of a line, and a part in parentheses may be a remark.
    """
    equations = []
    for line in lines:
        parts = [_part(part) for part in re.split(r" {2,}", line.strip())]
        if None in parts:
            return None
        equations.append(r" \quad ".join(filter(None, parts)))
    return equations


def _part(text: str) -> str | None:
    end = re.search(r"[,.;]?$", text)[0]
    formula = latex(text.removesuffix(end))
    if formula is None and re.fullmatch(r"\(.*\)[,.;]?", text):
        return rf"\text{{{text}}}"
    return None if formula is None else formula + end


def _several(tokens: list[str], closing: str | None) -> tuple[str, list[str]]:
    """LaTeX up to the closing bracket, or to the end, and the tokens after it."""
    out = []
    while tokens and tokens[0] != closing:
        formula, tokens = _one(tokens)
        out.append(formula)
    if closing is not None and not tokens:
        raise NoFormulaError
    return " ".join(out), tokens[1:]


def _one(tokens: list[str]) -> tuple[str, list[str]]:
    """LaTeX of the first symbol with its indices and exponents, or of the first bracket; the tokens after it."""
    token, *rest = tokens
    if token in "^_":
        if not rest:
            raise NoFormulaError
        if rest[0] == "-" and token == "^":  # e^-h
            formula, rest = _one(rest[1:])
            return f"^{{-{formula}}}", rest
        if rest[0] in ("(", "{"):
            formula, rest = _several(rest[1:], CLOSING[rest[0]])
        elif token == "_" and re.fullmatch(r"[ijkab]{2}", rest[0]):
            formula, rest = rest[0], rest[1:]  # a_ij
        elif token == "_" and re.fullmatch(r"[a-z]{2,}", rest[0]) and rest[0] not in WORDS:
            formula, rest = rf"\text{{{rest[0]}}}", rest[1:]  # sigma_max
        else:
            formula, rest = _symbol(rest[0]), rest[1:]
            if token == "^" and rest[:1] == ["_"]:  # p^b_i
                index, rest = _one(rest)
                formula += index
        return f"{token}{{{formula}}}", rest
    if token == "sqrt" and rest:
        formula, rest = _several(rest[1:], ")") if rest[0] == "(" else _one(rest[1:])
        return rf"\sqrt{{{formula}}}", rest
    if token in CLOSING:
        formula, rest = _several(rest, CLOSING[token])
        left, right = (r"\{", r"\}") if token == "{" else (token, CLOSING[token])
        return f"{left} {formula} {right}", rest
    return _symbol(token), rest


def _symbol(token: str) -> str:
    if token.isspace():
        return " "
    if token in WORDS:
        return WORDS[token]
    if token in NAMES.split():
        return rf"\mathrm{{{token}}}"
    if letter := re.fullmatch(r"([a-zA-Z])(\d?)", token):
        return f"{letter[1]}_{{{letter[2]}}}" if letter[2] else token
    if token[0] == "d" and (token[1:] in GREEK.split() or re.fullmatch(r"[a-zA-Z]", token[1:])):
        return "d" + _symbol(token[1:])
    if power := re.fullmatch(r"([\d.]+)e(-?\d+)", token):
        return rf"10^{{{power[2]}}}" if power[1] == "1" else rf"{power[1]} \cdot 10^{{{power[2]}}}"
    if re.fullmatch(r"\d.*|[-+/=<>|,;:']", token):
        return token
    if token in SIGNS:
        return SIGNS[token]
    raise NoFormulaError
