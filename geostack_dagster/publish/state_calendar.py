"""A calendar of one pipeline over one AOI as inline SVG: a square for every day, weeks across."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from html import escape

from geostack_dagster.domain.counts import counted
from geostack_dagster.publish.state import Cell

LEVELS = 5
MOST_WEEKS = 53
_CELL, _GAP, _LEFT, _TOP = 13, 2, 30, 18
_PITCH = _CELL + _GAP
_WEEKDAYS = {0: "Mon", 2: "Wed", 4: "Fri"}


def calendar(cells: Sequence[Cell], *, label: str) -> str:
    """SVG of the newest year of some partitions, of which there is one at least.

    The deeper the colour, the more of the day's pixels hold a value; hollow squares were looked at
    and have no scene; dashed ones have scenes and no cube yet; a cross marks what failed.
    """
    last = max(cell.day for cell in cells)
    earliest = _monday(last) - timedelta(weeks=MOST_WEEKS - 1)
    shown = [cell for cell in cells if cell.day >= earliest]
    first = _monday(min(cell.day for cell in shown))
    weeks = (_monday(last) - first).days // 7 + 1
    filled = sum(cell.coverage is not None and cell.items > 0 for cell in shown)
    words = f"{label}: {counted(len(shown), 'day')} looked at, {filled} with pixels"
    drawn = [
        *_days_and_months(first, weeks),
        *(_square(cell, first) for cell in sorted(shown, key=lambda cell: cell.day)),
    ]
    width, height = _LEFT + max(weeks, 4) * _PITCH, _TOP + 7 * _PITCH
    return (
        f'<svg class="calendar" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" aria-label="{escape(words)}">'
        f"<title>{escape(words)}</title>{''.join(drawn)}</svg>"
    )


def _square(cell: Cell, first: date) -> str:
    week, weekday = divmod((cell.day - first).days, 7)
    x, y = _LEFT + week * _PITCH, _TOP + weekday * _PITCH
    cross = ""
    if cell.failures:
        cross = f'<path class="cross" d="M{x + 3} {y + 3}l7 7m0-7l-7 7"/>'
    return (
        f'<g class="day {_kind(cell)}"><title>{escape(_words(cell))}</title>'
        f'<rect x="{x}" y="{y}" width="{_CELL}" height="{_CELL}" rx="2.5"/>{cross}</g>'
    )


def _kind(cell: Cell) -> str:
    if not cell.items:
        return "empty"
    if cell.coverage is None:
        return "pending"
    return f"c{min(int(cell.coverage * LEVELS), LEVELS - 1) + 1}"


def _words(cell: Cell) -> str:
    words = [cell.day.isoformat(), counted(cell.items, "item")]
    if cell.items:
        known = cell.coverage is not None
        words.append(f"{cell.coverage:.0%} of pixels" if known else "no cube yet")
    if cell.failures:
        words.append(f"{counted(cell.failures, 'asset')} not read")
    return ", ".join(words)


def _days_and_months(first: date, weeks: int) -> Iterator[str]:
    for row, name in _WEEKDAYS.items():
        yield f'<text x="0" y="{_TOP + row * _PITCH + 11}">{name}</text>'
    free = 0
    for week in range(weeks):
        monday = first + timedelta(weeks=week)
        starts = week == 0 or monday.day <= 7
        if starts and week >= free:
            name = monday.strftime("%b %Y" if week == 0 or monday.month == 1 else "%b")
            yield f'<text x="{_LEFT + week * _PITCH}" y="11">{name}</text>'
            free = week + (4 if len(name) > 3 else 2)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())
