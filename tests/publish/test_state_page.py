"""The state page: what it says, that it stands alone, and that anyone can read it."""

import re
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from geostack_dagster.publish.state import (
    Area,
    Cell,
    Failure,
    ModelEvent,
    Picture,
    PipelineState,
    PlumeMark,
    State,
)
from geostack_dagster.publish.state_calendar import MOST_WEEKS, calendar
from geostack_dagster.publish.state_map import area_map
from geostack_dagster.publish.state_page import state_page

DAY = date(2024, 7, 3)
PNG = bytes.fromhex("89504e470d0a1a0a")
VOID = {"meta", "img", "rect", "path", "circle"}


def _square(west: float, south: float, size: float) -> dict:
    east, north = west + size, south + size
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _mark(rate: float | None, *, is_sure: bool = True, west: float = 7.82) -> PlumeMark:
    return PlumeMark(
        pipeline="emit",
        area="emmental",
        day=DAY,
        geometry=_square(west, 46.97, 0.01),
        is_sure=is_sure,
        rate_kg_h=rate,
        interval_kg_h=None if rate is None else (rate / 2, rate * 2),
    )


def _state(**changes: object) -> State:
    cells = [
        Cell(day=DAY, items=2, coverage=0.31),
        Cell(day=DAY + timedelta(days=1), items=0),
        Cell(day=DAY + timedelta(days=2), items=1, failures=3),
    ]
    facts = {
        "root": "/data/storage",
        "at": datetime(2024, 7, 9, 12, 0, tzinfo=UTC),
        "areas": [Area(name="emmental", geometry=_square(7.8, 46.95, 0.1), crs="EPSG:32632")],
        "pipelines": [
            PipelineState(
                name="emit",
                title="EMIT <L2B> & more",
                calendar={"emmental": cells},
                sizes={"cubes": 1_500_000, "snapshots": 20},
                pictures=[Picture(title="emit, plumes", png=PNG)],
            )
        ],
        "plumes": [_mark(1234.0), _mark(None, is_sure=False)],
        "failures": [
            Failure(
                pipeline="emit",
                area="emmental",
                day=DAY,
                item="<script>alert(1)</script>",
                asset="B04",
                status="failed",
                reason="http-503",
            )
        ],
        "champion": "model-2",
        "models": [
            ModelEvent(at="2024-07-01", event="promoted", model="model-1", by="gate"),
            ModelEvent(at="2024-07-02", event="promoted", model="model-2", by="gate", why="AP"),
        ],
        "promotions": [Picture(title="model-2, promoted 2024-07-02", png=PNG)],
    }
    return State(**{**facts, **changes})


class Page(HTMLParser):
    """Elements that open and close properly, and what they refer to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_it_is_well_formed_and_asks_for_nothing_from_elsewhere():
    text = state_page(_state())
    page = Page(text)

    assert page.open == []
    for tag, attributes in page.seen:
        assert tag not in ("script", "link", "iframe", "object")
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/png;base64,", "#")), (tag, value)
    assert not re.search(r"url\(|@import", text)
    assert "default-src 'none'" in text


def test_it_can_be_read_without_eyes_and_in_the_dark():
    page = Page(state_page(_state()))

    assert dict(page.seen[0][1]) == {"lang": "en"}
    for tag, attributes in page.seen:
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
        if tag == "th":
            assert attributes["scope"] == "col"
    assert sum(tag == "h1" for tag, _ in page.seen) == 1
    assert "prefers-color-scheme:dark" in state_page(_state())


def test_what_comes_from_archives_cannot_become_markup():
    text = state_page(_state())

    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "EMIT &lt;L2B&gt; &amp; more" in text


def test_it_says_what_there_is():
    text = state_page(_state())

    figures = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))
    assert figures == {
        "AOIs": "1",
        "pipelines": "1",
        "partitions": "3",
        "with pixels": "1",
        "plumes": "1",
        "assets not read": "1",
        "stored": "1.5 MB",
    }
    assert "1,234" in text
    assert "617 to 2,468" in text
    assert "http-503" in text
    assert "Champion: <code>model-2</code>" in text
    assert 'alt="Before and after: model-2, promoted 2024-07-02"' in text
    assert text.index("2024-07-02") < text.index("2024-07-01")  # newest first


def test_an_empty_storage_has_a_page_too():
    text = state_page(State(root="s3://bucket", at=datetime.now(UTC), areas=[], pipelines=[]))

    assert Page(text).open == []
    assert "geostack aoi add" in text
    assert "Models" not in text


def _classes(svg: str) -> list[str]:
    root = ET.fromstring(svg)
    return [one.attrib["class"] for one in root.iter() if one.attrib.get("class", "")[:3] == "day"]


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (Cell(day=DAY, items=0), "empty"),
        (Cell(day=DAY, items=0, coverage=0.0), "empty"),
        (Cell(day=DAY, items=1), "pending"),
        (Cell(day=DAY, items=1, coverage=0.0), "c1"),
        (Cell(day=DAY, items=1, coverage=0.5), "c3"),
        (Cell(day=DAY, items=1, coverage=1.0), "c5"),
    ],
)
def test_a_day_is_coloured_by_what_is_known_of_it(cell, kind):
    assert _classes(calendar([cell], label="x")) == [f"day {kind}"]


def test_a_calendar_places_days_by_week_and_weekday_and_ends_with_the_newest_year():
    days = [DAY - timedelta(days=back) for back in range(800)]
    svg = calendar([Cell(day=day, items=1, coverage=1.0) for day in days], label="x")

    root = ET.fromstring(svg)
    rects = [(float(one.attrib["x"]), float(one.attrib["y"])) for one in root.iter("rect")]
    assert len(set(rects)) == len(rects) == (MOST_WEEKS - 1) * 7 + DAY.weekday() + 1
    assert len({x for x, _ in rects}) == MOST_WEEKS
    assert len({y for _, y in rects}) == 7


def test_a_map_shows_sure_and_doubtful_plumes_apart_and_the_stronger_the_larger():
    area = _state().areas[0]
    marks = [_mark(100.0), _mark(400.0, west=7.85), _mark(50.0, is_sure=False, west=7.9)]
    root = ET.fromstring(area_map(area, marks))

    plumes = [one for one in root.iter("g") if "plume" in one.attrib["class"]]
    assert [one.attrib["class"] for one in plumes] == [
        "plume doubtful",
        "plume sure",
        "plume sure",
    ]
    radius = {one.findtext("title"): float(one.find("circle").attrib["r"]) for one in plumes}
    assert radius["2024-07-03, emit, plume, 400 kg/h"] > radius["2024-07-03, emit, plume, 100 kg/h"]
    assert root.attrib["aria-label"] == "emmental: 2 plumes, 1 doubtful"


@pytest.mark.parametrize("size", [0.011, 0.06, 0.13, 3.0, 40.0])
def test_lines_of_a_map_say_where_they_are(size):
    tree = ET.fromstring(
        area_map(Area(name="a", geometry=_square(7.84, -33.16, size), crs="EPSG:32720"), [])
    )
    labels = [one for one in tree.iter() if one.tag.endswith("text")]
    for anchor, place in (("middle", "x"), ("end", "y")):
        found = [
            (float(one.get(place)), float((one.text or "").rstrip("°")))
            for one in labels
            if one.get("text-anchor") == anchor
        ]
        # Pixels are in proportion to what the labels say.
        scales = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(found)]
        assert max(scales) - min(scales) < 0.02 * abs(scales[0])
    left = -float(str(tree.get("viewBox")).split()[0])
    assert all(7 * len(one.text or "") <= left - 6 for one in labels)


def test_an_area_across_the_antimeridian_is_in_one_piece():
    halves = [_square(179.9, -17, 0.1)["coordinates"], _square(-180, -17, 0.1)["coordinates"]]
    area = Area(
        name="fiji", geometry={"type": "MultiPolygon", "coordinates": halves}, crs="EPSG:32760"
    )
    root = ET.fromstring(area_map(area, []))

    (path,) = (one.attrib["d"] for one in root.iter("path") if one.attrib["class"] == "aoi")
    xs = [float(x) for x in re.findall(r"[ML]([-\d.]+) ", path)]
    assert max(xs) - min(xs) > 250  # fills the map, instead of two slivers a world apart
    assert sorted(xs)[len(xs) // 2 - 1] == pytest.approx(170, abs=1)
