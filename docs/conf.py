"""The site: the pages of this folder, tutorials and a gallery that run while it is built, and the reference of the API.

    make docs        # writes docs/_build/html/index.html

Nothing is loaded from the network, neither by the build nor by the finished pages: formulas are MathML, which browsers
know. Warnings are errors.
"""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import nbclient
from docutils import nodes
from docutils.utils.math import latex2mathml
from jupyter_cache.executors import utils as executors
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import toy_score  # noqa: E402
from docs.docstrings import readable, rewritten  # noqa: E402
from docs.formulas import spaced  # noqa: E402
from docs.pages import in_one_piece, llms_txt, sitemap, without_pictures  # noqa: E402

BUILD = HERE / "_build"
PLAYGROUND, EXACT = BUILD / "extra/playground.html", BUILD / "extra/playground_exact.html"
HIDDEN_COLON = "\N{PRESENTATION FORM FOR VERTICAL COLON}"
COMMAND = [sys.executable, "-m", "toy_score"]
training: list[subprocess.Popen] = []
PLAYGROUND.parent.mkdir(parents=True, exist_ok=True)
os.environ.setdefault("PYTHONPATH", str(ROOT))  # for the kernels that run the tutorials
os.environ["OMP_NUM_THREADS"] = "1"

project = "toy_score"
author = "the toy_score developers"
copyright = author
release = version = toy_score.__version__
root_doc = "index"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",  # formulas stand at the top of the files
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
]
exclude_patterns = [
    "_build",
    "figures",
    "tables",
    "gallery/*.ipynb",
    "gallery/*.py",
    "gallery/*.md5",
    "sg_execution_times.rst",
]
nitpicky = False
default_role = "code"  # docstrings write code in single backquotes

# -- pages ------------------------------------------------------------------------------------------------------------
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
myst_linkify_fuzzy_links = False
suppress_warnings = ["config.cache"]  # sphinx-gallery's settings hold a function
nb_execution_mode = "cache"
nb_execution_cache_path = str(BUILD / "cache")
nb_execution_timeout = 1800  # a cell takes ten seconds; on a busy machine many times as long
# So does the start of a kernel, which has 60 s, and MyST-NB has no setting for it.
executors.executenb = functools.partial(nbclient.execute, startup_timeout=nb_execution_timeout)
nb_execution_raise_on_error = True
nb_execution_in_temp = True  # what a page writes is not kept
nb_output_stderr = "remove"  # progress bars
nb_merge_streams = True

smartquotes_action = "qe"  # quotation marks and ellipses, but no dashes: --help is an option

html_theme = "furo"
html_baseurl = os.environ.get("TOY_SCORE_DOCS_URL", "")  # where the site will be; the sitemap needs it
html_title = f"toy_score {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/icon.svg"
html_extra_path = [str(BUILD / "extra")]
html_theme_options = {"source_repository": "", "navigation_with_keys": True}
html_math_renderer = "mathml"
highlight_language = "text"  # where a page names none: output of commands, for example
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True


def returned_figures(block, block_vars, gallery_conf) -> str:
    """Saves the figure that the script named `figure`, unless pyplot knows it and so saves it itself."""
    from matplotlib.figure import Figure
    from sphinx_gallery.scrapers import figure_rst

    figure = block_vars["example_globals"].get("figure")
    if not isinstance(figure, Figure) or hasattr(figure, "number"):  # pyplot numbers its figures
        return ""
    path = next(block_vars["image_path_iterator"])
    figure.savefig(path, dpi=150)
    return figure_rst([path], gallery_conf["src_dir"])


sphinx_gallery_conf = {
    "image_scrapers": ("matplotlib", returned_figures),
    "examples_dirs": str(ROOT / "examples/gallery"),
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "capture_repr": (),  # no addresses of objects
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "image_srcset": ["2x"],
    "within_subsection_order": "FileNameSortKey",
}

# -- reference --------------------------------------------------------------------------------------------------------
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "exclude-members": "set",  # which matplotlib writes for each class of figures, in its own dialect
}
autodoc_inherit_docstrings = False  # Lightning's refer to Lightning's own pages
napoleon_use_rtype = False


def rewrite_docstring(app, what, name, obj, options, lines):
    """Formulas, tables and code of docstrings, in place.

    Napoleon takes what stands before a colon in the first line of an attribute's docstring for its type, so the colons
    are hidden from it until `colons_again`.
    """
    lines[:] = rewritten(lines)
    if what in ("attribute", "data", "property") and lines:
        lines[0] = lines[0].replace(":", HIDDEN_COLON)


def colons_again(app, what, name, obj, options, lines):
    """Docstrings of attributes as they were."""
    lines[:] = [line.replace(HIDDEN_COLON, ":") for line in lines]


def readable_signature(app, what, name, obj, options, signature, return_annotation):
    """Signatures that Sphinx can parse."""
    return signature and readable(signature), return_annotation


def text_in_sentences(app: Sphinx, doctree: nodes.document) -> None:
    """Lines end beside numbers, not within them; Sphinx writes -- between a parameter and what it is."""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.raw)):
            text.parent.replace(text, nodes.Text(in_one_piece(text).replace(" -- ", " \N{EN DASH} ")))


def inline_formula(visitor, node) -> None:
    """A formula in a sentence, as MathML; a long one scrolls where it is wider than the page."""
    formula = spaced(latex2mathml.tex2mathml(node.astext()))
    visitor.body.append(f'<span class="wide">{formula}</span>' if len(node.astext()) > 40 else formula)
    raise nodes.SkipNode


def displayed_formula(visitor, node) -> None:
    """A formula on a line of its own, as MathML."""
    formula = spaced(latex2mathml.tex2mathml(node.astext(), as_block=True))
    visitor.body.append(f'<div class="math">{formula}</div>')
    raise nodes.SkipNode


def links_of_the_repository(app: Sphinx, page: str, source: list[str]) -> None:
    """Pages link to files as in the repository; the tables of measurements are sections of one page of the site.

    The pictures of cells that run are left out: the cells show them.
    """
    text = without_pictures(source[0])
    text = re.sub(r"\((?:\.\./benchmarks/results|tables)/(\w+)\.md\)", r"(measurements.md#\1)", text)
    source[0] = re.sub(r"\(\.\./(SECURITY|CONTRIBUTING)\.md", lambda found: f"({found[1].lower()}.md", text)


def begin_first_model(app: Sphinx) -> None:
    """Train a model for the first page, once for each build folder, while the pages are read."""
    if PLAYGROUND.is_file() or app.builder.format != "html":
        return
    steps = os.environ.get("TOY_SCORE_DOCS_STEPS", "1500")
    fit = [*COMMAND, "fit", "--config", "ncsn_heart", "--trainer.max_steps", steps, "--pictures.frames", "0"]
    training.append(subprocess.Popen(fit, cwd=BUILD, stdout=subprocess.DEVNULL))


def end_first_model(app: Sphinx, env: object) -> None:
    """Its page, when the training has ended, and the page without a model."""
    for process in training:
        if process.wait():
            raise ExtensionError("the model of the first page was not trained; its messages are above")
        subprocess.run([*COMMAND, "play", "latest", "--output", str(PLAYGROUND)], check=True, cwd=BUILD)
    training.clear()
    if app.builder.format == "html" and not EXACT.is_file():
        subprocess.run([*COMMAND, "play", "--data", "EightGaussians", "--output", str(EXACT)], check=True, cwd=BUILD)


def lists_of_pages(app: Sphinx, error: Exception | None) -> None:
    """`llms.txt`, each page with its title (llmstxt.org), and `sitemap.xml` if the address of the site is known."""
    if error or app.builder.format != "html":
        return
    pages = {app.builder.get_target_uri(name): app.env.titles[name].astext() for name in sorted(app.env.titles)}
    files = {"llms.txt": llms_txt(toy_score.__doc__, pages)}
    if html_baseurl:
        files["sitemap.xml"] = sitemap(html_baseurl, pages)
    for name, text in files.items():
        (Path(app.outdir) / name).write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what is defined above."""
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
    app.connect("autodoc-process-docstring", rewrite_docstring, priority=100)
    app.connect("autodoc-process-docstring", colons_again, priority=900)  # after Napoleon's 500
    app.connect("autodoc-process-signature", readable_signature)
    app.connect("source-read", links_of_the_repository)
    app.connect("doctree-read", text_in_sentences)
    app.connect("builder-inited", begin_first_model)
    app.connect("env-updated", end_first_model)
    app.connect("build-finished", lists_of_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
