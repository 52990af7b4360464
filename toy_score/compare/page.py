"""The files of a finished comparison, above all the page: one self-contained file for desktops and phones."""

import io
from base64 import b64encode
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from string import Template

from matplotlib.figure import Figure
from PIL import Image
from torch import Generator

from toy_score import plotting
from toy_score.compare import pictures
from toy_score.compare.contestants import NETWORK, Cell
from toy_score.compare.grid import Protocol, draw
from toy_score.compare.samplers import OWN
from toy_score.compare.store import Store, write
from toy_score.compare.summary import ALARM, Entry, Group, Row, faults, headline, protocol_text, spread
from toy_score.compare.tables import READING, as_csv, as_markdown, number
from toy_score.plotting.comparison import limits_of
from toy_score.plotting.style import darken
from toy_score.progress import watched
from toy_score.seeds import seed_of
from toy_score.version import __version__

__all__ = ["write_all"]

TEMPLATE = Path(__file__).with_name("page.html")
N_POINTS, N_COLOURS, DPI = 3000, 256, 150
EXACT_ROW = ' class="exact"'
WIDEST = 6.0
"""The multiple of the floor at which the bars of the ranking end."""


def write_all(groups: Sequence[Group], store: Store, protocol: Protocol, kind: str = "png") -> None:
    """Write the tables, the figures as files of a kind, and the page into the folder of the store."""
    n, seeds = protocol.n_samples, protocol.seeds
    write(store.folder / "results.csv", as_csv(groups))
    write(store.folder / "results.md", as_markdown(groups, n, seeds, store.about["command"]))
    evaluations, seconds = pictures.by_evaluations(groups), pictures.by_seconds(groups)
    for name, panels, xlabel, title in (
        ("evaluations", evaluations, pictures.EVALUATIONS, "quality against evaluations"),
        ("seconds", seconds, pictures.SECONDS, "quality against seconds"),
    ):
        figure = plotting.comparison(panels, xlabel, f"{headline(groups)}: {title}", columns_for(len(panels)))
        write(store.folder / f"{name}.{kind}", plotting.to_file(figure, kind))
    write(store.folder / "index.html", _page(groups, store, protocol))


def _page(groups: Sequence[Group], store: Store, protocol: Protocol) -> str:
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(headline(groups)),
        lead=escape(protocol_text(groups, protocol.n_samples, protocol.seeds)),
        ranking="".join(_ranking(group, pictures.model_colours(groups)) for group in groups),
        key=_key(groups),
        evaluations=_images(pictures.by_evaluations(groups), pictures.EVALUATIONS),
        seconds=_images(pictures.by_seconds(groups), pictures.SECONDS, key=True),
        samples=_grid(
            [_samples(cell, row, protocol) for cell, row in watched(_best_cells(groups), "pictures", "drawing")]
        ),
        table="".join(map(_table, groups)),
        reading=escape(READING),
        about=_about(store, protocol),
    )


def _best_cells(groups: Sequence[Group]) -> list[tuple[Cell, Row]]:
    """The best cell of each model, and its row."""
    return [(e.cell, e.best) for group in groups for e in group.models if e.cell and e.best]


def _ranking(group: Group, colours: dict[str, str]) -> str:
    entries = group.entries
    widest = min(max([1.0, *(e.best["sliced_w1_ratio"] for e in entries if e.best)]), WIDEST)
    items = "".join(_place(entry, colours.get(entry.contestant.name, "var(--faint)"), widest) for entry in entries)
    notes = "".join(f"<p>{escape(text)}</p>" for text in faults(group))
    return f'<h2>{escape(group.label.capitalize())}</h2><ol class="ranking">{items}</ol>{notes}'


def _place(entry: Entry, colour: str, widest: float) -> str:
    """A contestant in the ranking; its bar marks exact samples and the exact denoiser."""
    row, name = entry.best, escape(entry.contestant.name)
    css = "" if entry.contestant.kind == NETWORK else EXACT_ROW
    if row is None:
        return f'<li{css}><h3>{name}</h3><p class="alarm">no finite samples</p></li>'
    ratio = row["sliced_w1_ratio"]
    facts = [
        f"<code>{escape(row['sampler'])}</code>",
        f"{row['nfe']} evaluations",
        f"{number(row['seconds'], 2)} s for 20 000",
    ]
    if entry.trainings:
        facts.insert(0, escape(f"mean{spread(entry)}"))
    marks = {"one": 1.0}
    if entry.reference and entry.reference["sliced_w1_ratio"]:
        marks["exact"] = entry.reference["sliced_w1_ratio"]
        facts.append(f"exact denoiser there: {number(marks['exact'], 2)}")
    ticks = "".join(f'<i class="{k}" style="left:{_percent(v, widest)}"></i>' for k, v in marks.items() if v <= widest)
    alarms = "".join(f'<p class="alarm">{escape(text)}</p>' for text in _alarms(row))
    bar = f'<b style="width:{_percent(ratio, widest)};background:{colour}"></b>'
    return (
        f'<li{css}><h3>{name}</h3><strong>{number(ratio, 2)}</strong><div class="bar">{bar}{ticks}</div>'
        f"<p>{' · '.join(facts)}</p>{alarms}</li>"
    )


def _percent(value: float, whole: float) -> str:
    return f"{min(100.0 * value / whole, 100.0):.2f}%"


def _alarms(row: Row) -> list[str]:
    """Errors that sliced W1 misses: other metrics far from their noise floor."""
    defects = []
    for name, text in (("energy", "energy distance"), ("cross_entropy_gap", "cross-entropy gap")):
        if row[f"{name}_z"] is not None and abs(row[f"{name}_z"]) > ALARM:
            defects.append(f"{text} {number(row[name], 5)}, {row[f'{name}_z']:.0f} sd off")
    if row["mode_weights_worst_z"] is not None and abs(row["mode_weights_worst_z"]) > ALARM:
        defects.append(f"a mode's weight is {row['mode_weights_worst_z']:.0f} sd off")
    if row["invalid_mass"]:
        defects.append(f"{100 * row['invalid_mass']:.2g}% of the samples are where the density is 0")
    return defects


def _key(groups: Sequence[Group]) -> str:
    colours = pictures.sampler_colours(groups)
    used = {row["line"] for group in groups for row in group.rows}
    names = {label: escape(label) for label in colours if label in used} | ({OWN: "★ its own"} if OWN in used else {})
    chips = [f'<span><i style="background:{colours[label]}"></i>{name}</span>' for label, name in names.items()]
    hollow = " (☆)" if OWN in used else ""
    chips.append(f'<span><i class="dashes"></i>exact denoiser, same schedule{hollow}</span>')
    return "".join([*chips, '<span><i class="band"></i>exact samples</span>'])


def _images(panels: Sequence[plotting.Panel], xlabel: str, key: bool = False) -> str:
    limits = limits_of(panels)

    return _grid(
        [
            _image(
                plotting.comparison([panel], xlabel, limits=limits, key=key),
                f"{panel.title}: quality against {xlabel}",
            )
            for panel in panels
        ]
    )


def _grid(items: Sequence[str]) -> str:
    """Items side by side; one below the other on a phone."""
    return f'<div class="grid" style="--columns:{columns_for(len(items))}">{"".join(items)}</div>'


def columns_for(n: int) -> int:
    """A number of columns that leaves no row with a single item, if possible."""
    return n if n <= 3 else 2 if n == 4 else 3


def _samples(cell: Cell, row: Row, protocol: Protocol) -> str:
    p, name, n = cell.contestant.distribution, cell.contestant.name, min(N_POINTS, protocol.n_samples)
    generated = draw(cell, protocol, 0, n).cpu()
    real = p.sample(n, Generator().manual_seed(seed_of("points beside samples")))
    ratio = number(row["sliced_w1_ratio"], 2)
    picture = _image(plotting.samples(generated, real, p, name), f"samples of {name}")
    caption = f"<code>{escape(row['sampler'])}</code>, {ratio} x the floor"
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _image(figure: Figure, text: str) -> str:
    """A figure for light and for dark pages; it is dark afterwards."""
    light, dark = _data_uri(figure), _data_uri(darken(figure))
    return (
        f'<picture><source srcset="{dark}" media="(prefers-color-scheme: dark)"/>'
        f'<img src="{light}" alt="{escape(text)}"/></picture>'
    )


def _data_uri(figure: Figure) -> str:
    return f"data:image/png;base64,{b64encode(_png(figure)).decode()}"


def _png(figure: Figure) -> bytes:
    """A PNG sharp enough for a phone, in few colours, since there are many in one page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    with Image.open(buffer) as image:
        small = image.convert("RGB").quantize(N_COLOURS, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    small.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


COLUMNS: tuple[tuple[str, str, Callable[[Row], str]], ...] = (
    ("model", "model", lambda r: escape(r["model"])),
    ("sampler", "sampler", lambda r: f"<code>{_breakable(r['sampler'])}</code>{' ★' if r['own'] else ''}"),
    ("evaluations", "nfe", lambda r: str(r["nfe"])),
    ("seconds", "seconds", lambda r: number(r["seconds"], 3)),
    ("sliced W1", "sliced_w1", lambda r: f"{number(r['sliced_w1'], 4)}{_sd(r['sliced_w1_sd'])}"),
    ("/ floor", "sliced_w1_ratio", lambda r: f"<b>{number(r['sliced_w1_ratio'], 2)}</b>"),
    ("energy", "energy", lambda r: f"{number(r['energy'], 5)}{_z(r['energy_z'])}"),
    (
        "cross-entropy gap",
        "cross_entropy_gap",
        lambda r: f"{number(r['cross_entropy_gap'], 4)}{_z(r['cross_entropy_gap_z'])}",
    ),
    ("modes, worst z", "mode_weights_worst_z", lambda r: _z(r["mode_weights_worst_z"])),
    ("invalid mass", "invalid_mass", lambda r: number(r["invalid_mass"], 5)),
    ("not finite", "nonfinite", lambda r: str(r["nonfinite"])),
)
"""Of the table: what is written above, the key that is sorted by, what is written."""


def _table(group: Group) -> str:
    head = "".join(f'<th scope="col"><button type="button">{escape(name)}</button></th>' for name, _, _ in COLUMNS)
    rows = []
    for row in group.rows:
        tds = "".join(f'<td data-v="{escape(_sortable(row[key]))}">{shown(row)}</td>' for _, key, shown in COLUMNS)
        rows.append(f"<tr{'' if row['kind'] == NETWORK else EXACT_ROW}>{tds}</tr>")
    return (
        f'<h3>{escape(group.label)}</h3><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _breakable(call: str) -> str:
    """A constructor call that may go on in the next line after its name."""
    return escape(call).replace("(", "(<wbr/>")


def _sortable(value: str | float | None) -> str:
    return "" if value is None else str(value)


def _sd(value: float | None) -> str:
    return "" if value is None else f"<small> ± {number(value, 4)}</small>"


def _z(value: float | None) -> str:
    if value is None:
        return ""
    css = "z alarm" if abs(value) > ALARM else "z"
    return f'<small class="{css}"> {value:+.{1 if abs(value) < 100 else 0}f} sd</small>'


def _about(store: Store, protocol: Protocol) -> str:
    about, settings = store.about, store.settings
    facts = {
        "command": f"<code>{escape(about['command'])}</code>",
        "date": escape(about["date"]),
        "machine": escape(about["machine"]),
        "versions": escape(f"toy_score {__version__}, torch {about['torch']}, Python {about['python']}"),
        "samples": f"{protocol.n_samples} for each of {protocol.seeds} seeds, from seed {protocol.seed}",
        "checkpoints": "<br/>".join(
            f"{escape(name)} <small>sha256 {digest[:12]}</small>" for name, digest in settings["models"].items()
        ),
    }
    return "".join(f"<dt>{name}</dt><dd>{fact}</dd>" for name, fact in facts.items())
