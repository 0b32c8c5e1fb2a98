"""Partitions own whole chunks, and every chunk has one owner."""

from collections import Counter
from datetime import date, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from geostack_dagster.cube import plan
from geostack_dagster.cube.schema import CubeSchema, Variable
from geostack_dagster.domain.days import Cadence, Window
from geostack_dagster.domain.grid import Grid
from geostack_dagster.errors import ConfigurationError

START = date(2023, 12, 25)  # a Monday
sizes = st.integers(1, 23)


@st.composite
def schemas(draw: st.DrawFn) -> CubeSchema:
    width, height = draw(sizes), draw(sizes)
    grid = Grid(crs="EPSG:32632", resolution=10.0, left=0.0, top=0.0, width=width, height=height)
    return CubeSchema(
        name="any",
        grid=grid,
        start=START,
        chunk=(draw(sizes), draw(sizes)),
        variables=(Variable(name="v", dtype="uint8", fill_value=0),),
    )


def partitions(cadence: Cadence, count: int) -> list[Window]:
    first = date(2024, 1, 1)
    keys = {
        Cadence.DAILY: [first + timedelta(days=n) for n in range(count)],
        Cadence.WEEKLY: [first + timedelta(days=7 * n) for n in range(count)],
        Cadence.MONTHLY: [date(2024 + n // 12, n % 12 + 1, 1) for n in range(count)],
    }
    return [Window.of(key.isoformat(), cadence) for key in keys[cadence]]


@settings(max_examples=40, deadline=None)
@given(schemas(), st.sampled_from(Cadence), st.integers(1, 5))
def test_partitions_tile_the_cube_exactly_once(schema: CubeSchema, cadence: Cadence, count: int):
    windows = partitions(cadence, count)
    covered: Counter[tuple[int, int, int]] = Counter()
    owners: Counter[tuple[int, int, int]] = Counter()
    for window in windows:
        for region in plan.regions(schema, window):
            owners[region.slot, region.row, region.column] += 1
            for y in range(region.y.start, region.y.stop):
                for x in range(region.x.start, region.x.stop):
                    covered[region.slot, y, x] += 1
            plan.require_owned(schema, window, schema.day(region.slot), region.y, region.x)
    first, last = schema.slot(windows[0].start), schema.slot(windows[-1].end)
    assert set(covered.values()) == {1}
    assert set(owners.values()) == {1}
    assert len(covered) == (last - first) * schema.grid.height * schema.grid.width


@settings(deadline=None)
@given(schemas(), st.data())
def test_anything_but_whole_chunks_is_refused(schema: CubeSchema, data: st.DataObject):
    window = Window(date(2024, 1, 1), date(2024, 1, 2))
    height, width = schema.grid.shape
    bounds = st.integers(-3, 26)
    y, x = (slice(data.draw(bounds), data.draw(bounds)) for _ in range(2))

    def edges(size: int, chunk: int) -> set[int]:
        return {*range(0, size, chunk), size}

    whole = all(
        {part.start, part.stop} <= edges(size, chunk) and part.start < part.stop
        for part, size, chunk in ((y, height, schema.chunk[0]), (x, width, schema.chunk[1]))
    )
    if whole:
        plan.require_owned(schema, window, window.start, y, x)
    else:
        with pytest.raises(ConfigurationError, match="whole chunks"):
            plan.require_owned(schema, window, window.start, y, x)


@settings(max_examples=20, deadline=None)
@given(schemas(), st.integers(0, 4000))
def test_slots_and_days_are_inverse(schema: CubeSchema, slot: int):
    assert schema.slot(schema.day(slot)) == slot
