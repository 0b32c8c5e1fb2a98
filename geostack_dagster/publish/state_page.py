"""One HTML page about a storage's state: it stands alone, opens from disk and asks no network."""

import base64
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from geostack_dagster.domain.counts import counted
from geostack_dagster.publish.state import Cell, Picture, PipelineState, PlumeMark, State
from geostack_dagster.publish.state_calendar import LEVELS, MOST_WEEKS, calendar
from geostack_dagster.publish.state_map import area_map
from geostack_dagster.publish.state_style import STYLE

_MOST_ROWS = 25
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_FOOTER = (
    "Written by <code>geostack report</code>. Everything here was read from the storage; nothing "
    "is loaded from elsewhere."
)
# The browser itself refuses whatever is not in the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def state_page(state: State) -> str:
    """The page. Nothing in it is loaded from elsewhere."""
    sections = (_damages, _maps, _calendars, _gallery, _plumes, _models, _failures, _sizes)
    parts = (part for section in sections for part in section(state))
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>State of {escape(_name(state))}</title><style>{STYLE}</style></head><body>",
            '<a class="skip" href="#state">To the state</a>',
            *_header(state),
            '<main id="state">',
            *parts,
            f"</main><footer>{_FOOTER}</footer></body></html>",
        ]
    )


def _name(state: State) -> str:
    return state.root.rstrip("/").rpartition("/")[2] or state.root


def _header(state: State) -> Iterator[str]:
    cells = [cell for one in state.pipelines for row in one.calendar.values() for cell in row]
    figures = {
        "AOIs": len(state.areas),
        "pipelines": len(state.pipelines),
        "partitions": len(cells),
        "with pixels": sum(cell.coverage is not None and cell.items > 0 for cell in cells),
        "plumes": sum(mark.is_sure for mark in state.plumes),
        "assets not read": len(state.failures),
        "stored": _bytes(sum(sum(one.sizes.values()) for one in state.pipelines)),
    }
    yield "<header><h1>State of the storage</h1>"
    yield f'<p class="soft"><code>{escape(state.root)}</code>, {state.at:%-d %B %Y, %H:%M} UTC</p>'
    rows = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    yield f'<dl class="figures">{rows}</dl></header>'


def _damages(state: State) -> Iterator[str]:
    if not state.damages:
        return
    yield "<section><h2>Damaged objects</h2>"
    yield "<p>These could not be read back, and are left out of everything below.</p>"
    rows = ((one.path, one.problem) for one in state.damages)
    yield _table("By path in the storage", ("Object", "What is wrong, and the remedy"), rows)
    yield "</section>"


def _maps(state: State) -> Iterator[str]:
    yield "<section><h2>Places and plumes</h2>"
    if not state.areas:
        yield "<p>No AOI is registered yet: <code>geostack aoi add FILE</code>.</p></section>"
        return
    yield (
        "<p>Each AOI in blue. Plumes in red: a wider dot is a higher rate; dashed and hollow ones "
        "are doubtful. Point at one to read it.</p>"
    )
    yield '<div class="row maps">'
    for area in state.areas:
        yield (
            f'<div class="card"><h3>{escape(area.name)} <span class="soft">{escape(area.crs)}'
            f"</span></h3>{area_map(area, state.plumes)}</div>"
        )
    yield "</div></section>"


def _calendars(state: State) -> Iterator[str]:
    yield "<section><h2>Coverage</h2>"
    yield f"<p>A square for each day that was ever asked for, at most {MOST_WEEKS} weeks.</p>"
    yield _key()
    yield '<div class="calendars" style="margin-top:14px">'
    for pipeline in state.pipelines:
        yield f'<div class="card"><h3>{escape(pipeline.name)}</h3>'
        yield f'<div class="soft">{escape(pipeline.title)}</div>'
        for area, cells in pipeline.calendar.items():
            yield f"<h4>{escape(area)}: {_summary(cells)}</h4>"
            yield calendar(cells, label=f"{pipeline.name}, {area}")
        yield "</div>"
    yield "</div></section>"


def _summary(cells: Sequence[Cell]) -> str:
    known = [cell.coverage for cell in cells if cell.coverage is not None and cell.items]
    covered = f", {sum(known) / len(known):.0%} covered" if known else ""
    return f"{counted(len(cells), 'day')}, {len(known)} with pixels{covered}"


def _key() -> str:
    steps = "".join(_swatch(f"c{level}") for level in range(1, LEVELS + 1))
    cross = '<path class="cross" d="M3 3l7 7m0-7l-7 7"/>'
    rows = [
        f"{steps} few to all pixels",
        f"{_swatch('empty')} no scene",
        f"{_swatch('pending')} scenes, no cube yet",
        f"{_swatch('empty', cross)} not all was read",
    ]
    return '<div class="key">' + "".join(f"<span>{row}</span>" for row in rows) + "</div>"


def _swatch(kind: str, extra: str = "") -> str:
    return (
        f'<svg aria-hidden="true" width="14" height="14"><g class="day {kind}">'
        f'<rect x=".5" y=".5" width="13" height="13" rx="2.5"/>{extra}</g></svg>'
    )


def _gallery(state: State) -> Iterator[str]:
    pictures = [picture for pipeline in state.pipelines for picture in pipeline.pictures]
    if not pictures:
        return
    yield '<section><h2>Latest quicklooks</h2><div class="gallery">'
    yield from (_figure(picture, "Quicklook of ") for picture in pictures)
    yield "</div></section>"


def _figure(picture: Picture, what: str) -> str:
    data, title = base64.b64encode(picture.png).decode(), escape(picture.title)
    return (
        f'<figure><img alt="{what}{title}" src="data:image/png;base64,{data}">'
        f"<figcaption>{title}</figcaption></figure>"
    )


def _plumes(state: State) -> Iterator[str]:
    if not state.plumes:
        return
    strongest = sorted(
        state.plumes, key=lambda mark: (not mark.is_sure, -(mark.rate_kg_h or 0), mark.day)
    )
    heads = ("Day", "Pipeline", "AOI", "State", "Rate [kg/h]", "68 % [kg/h]", "Score")
    yield "<section><h2>Plumes</h2>"
    yield _table(
        "Sure ones first, then the strongest", heads, map(_plume_row, strongest), numeric=(4, 5, 6)
    )
    yield "</section>"


def _plume_row(mark: PlumeMark) -> tuple[str, ...]:
    interval = "-"
    if mark.interval_kg_h is not None:
        interval = "{:,.0f} to {:,.0f}".format(*mark.interval_kg_h)
    return (
        mark.day.isoformat(),
        mark.pipeline,
        mark.area,
        "plume" if mark.is_sure else "doubtful",
        "-" if mark.rate_kg_h is None else f"{mark.rate_kg_h:,.0f}",
        interval,
        "-" if mark.score is None else f"{mark.score:.1f}",
    )


def _models(state: State) -> Iterator[str]:
    if not state.models:
        return
    champion = escape(state.champion or "nobody")
    yield f"<section><h2>Models</h2><p>Champion: <code>{champion}</code></p>"
    rows = (
        (one.at[:16].replace("T", " "), one.event, one.model, one.by, one.why)
        for one in reversed(state.models)
    )
    yield from (_figure(one, "Before and after: ") for one in state.promotions)
    yield _table("Newest first", ("When", "What", "Model", "By", "Why"), rows)
    yield "</section>"


def _failures(state: State) -> Iterator[str]:
    yield "<section><h2>What could not be read</h2>"
    if not state.failures:
        yield "<p>Every asset was read.</p></section>"
        return
    newest = sorted(state.failures, key=lambda one: one.day, reverse=True)
    rows = (
        (one.day.isoformat(), one.pipeline, one.area, one.item, one.asset, one.status, one.reason)
        for one in newest
    )
    heads = ("Day", "Pipeline", "AOI", "Item", "Asset", "Status", "Reason")
    yield _table("From the ledgers of the cubes, newest first", heads, rows)
    yield "</section>"


def _sizes(state: State) -> Iterator[str]:
    yield "<section><h2>Sizes</h2>"
    kinds = sorted({kind for pipeline in state.pipelines for kind in pipeline.sizes})
    rows = [(one.name, *(_bytes(one.sizes.get(kind, 0)) for kind in kinds), _total(one))
            for one in state.pipelines]  # fmt: skip
    heads = ("Pipeline", *kinds, "all")
    yield _table("By kind of artefact", heads, rows, numeric=range(1, len(heads)))
    yield "</section>"


def _total(pipeline: PipelineState) -> str:
    return _bytes(sum(pipeline.sizes.values()))


def _table(
    caption: str,
    heads: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: Iterable[int] = (),
) -> str:
    """A table of texts, cut off with a word on how many rows there are."""
    rows, right = list(rows), set(numeric)
    if len(rows) > _MOST_ROWS:
        caption = f"{caption}; {_MOST_ROWS} of {len(rows)}"
    marks = [' class="number"' if number in right else "" for number in range(len(heads))]
    head = "".join(
        f'<th scope="col"{mark}>{escape(text)}</th>'
        for text, mark in zip(heads, marks, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{mark}>{escape(text)}</td>" for text, mark in zip(row, marks, strict=True))
        + "</tr>"
        for row in rows[:_MOST_ROWS]
    )
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _bytes(size: float) -> str:
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    return ""
