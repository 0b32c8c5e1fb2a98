from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.query import ItemQuery, Predicate
from geostack_dagster.errors import ConfigurationError

BOX = AOI.from_bbox("a", (10, 46, 11, 47))
DAY = {"start": datetime(2024, 6, 1, tzinfo=UTC), "end": datetime(2024, 6, 2, tzinfo=UTC)}
JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())


@given(
    st.sampled_from(["eq", "neq", "lt", "lte", "gt", "gte"]),
    st.floats() | st.text() | st.integers(-100, 100),
    JSON,
)
def test_a_predicate_takes_any_property(op, value, found):
    assert Predicate("x", op, value).admits({"x": found}) in (True, False)


@pytest.mark.parametrize(
    ("op", "value", "found", "admitted"),
    [
        ("lte", 60, 60, True),
        ("lte", 60, 60.1, False),
        ("lte", 60, "72", False),
        ("lt", 100, "72", True),
        ("eq", "s2a", "s2a", True),
        ("neq", "s2a", "s2b", True),
        ("eq", "4", 4, True),
        ("lte", 60, None, True),
        ("lte", 60, "cloudy", False),
        ("lte", 60, True, False),
        ("gte", 0, 10**400, False),
    ],
)
def test_predicates(op, value, found, admitted):
    assert Predicate("eo:cloud_cover", op, value).admits({"eo:cloud_cover": found}) is admitted


def test_an_absent_property_is_no_reason_to_drop():
    assert Predicate("eo:cloud_cover", "lte", 60).admits({})


def test_an_unknown_operator_is_named():
    with pytest.raises(ConfigurationError, match="'between'"):
        Predicate("eo:cloud_cover", "between", 60)


def test_times_are_held_in_utc():
    query = ItemQuery(
        collections=("c",),
        aoi=BOX,
        start=datetime.fromisoformat("2024-06-01T02:00:00+02:00"),
        end=DAY["end"],
    )
    assert query.start == DAY["start"]
    assert query.start.tzinfo is UTC


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"collections": ()}, "at least one collection"),
        ({"start": DAY["end"], "end": DAY["start"]}, "backwards"),
        ({"start": DAY["end"]}, "backwards"),
        ({"start": datetime(2024, 6, 1)}, "needs a time zone"),  # noqa: DTZ001 (that is the point)
        ({"max_items": 0}, "max_items"),
    ],
)
def test_a_wrong_query_is_named(members, words):
    with pytest.raises(ConfigurationError, match=words):
        ItemQuery(**{"collections": ("c",), "aoi": BOX, **DAY, **members})
