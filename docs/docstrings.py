"""Docstrings as reStructuredText: they are written as Markdown is, with the sections of Google's style."""

import re

from docs.formulas import displayed, in_sentences

__all__ = ["readable", "rewritten"]

SECTIONS = {f"{name}:" for name in ("Args", "Attributes", "Example", "Raises", "Returns")}  # napoleon's


def rewritten(lines: list[str]) -> list[str]:
    """The lines with formulas as mathematics, other indented blocks as code, and tables as tables."""
    out: list[str] = []
    section = ""
    for block in _blocks(lines):
        if not block[0].startswith(" "):
            section = block[0] if block[0] in SECTIONS else ""
        if section == "Example:":
            out += block
        elif block[0].startswith("|"):
            out += _table(block)
        elif block[0].startswith("    ") and not section:
            out += _indented(block)
        else:
            out += in_sentences("\n".join(block)).split("\n")
        out.append("")
    return out


def readable(signature: str) -> str:
    """The signature without `<class 'torch.optim.Adam'>` and `<factory>`, of which Sphinx can make no links."""
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", signature).replace("<factory>", "...")


def _blocks(lines: list[str]) -> list[list[str]]:
    """Lines between empty lines."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    return [block for block in blocks if block]


def _indented(block: list[str]) -> list[str]:
    equations = displayed(block)
    if equations is None:
        return [".. code-block:: text", "", *block]
    return [line for equation in equations for line in (".. math::", "", f"    {equation}", "")]


def _table(block: list[str]) -> list[str]:
    """A table of Markdown; its second line separates the head."""
    rows = [[in_sentences(cell.strip()) for cell in line.strip("|").split(" | ")] for line in [block[0], *block[2:]]]
    out = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        out += [f"   {'* -' if k == 0 else '  -'} {cell}" for k, cell in enumerate(row)]
    return out
