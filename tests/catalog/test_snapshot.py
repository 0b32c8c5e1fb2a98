"""Snapshots: what they hold, how they are stored, and what their fingerprint follows."""

import copy
import io
import json
import random
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pystac
import pytest
import rustac
import stac_geoparquet.arrow as peer
from hypothesis import given, settings
from hypothesis import strategies as st

from geostack_dagster.catalog import parquet
from geostack_dagster.catalog.content import item_fingerprint
from geostack_dagster.catalog.diff import diff
from geostack_dagster.catalog.snapshot import (
    Snapshot,
    item_collection_url,
    read,
    read_header,
    snapshot_fingerprint,
    take_snapshot,
    write,
)
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.query import ItemQuery, Predicate
from geostack_dagster.errors import IntegrityError, ServiceError
from geostack_dagster.providers import EARTH_SEARCH, Limits

START = datetime(2024, 6, 1, tzinfo=UTC)
HERE = AOI.from_bbox("here", (10.2, 45.2, 10.8, 45.8))


def a_scene(number: int, when: datetime, **members: Any) -> dict[str, Any]:
    ring = [[10.0, 45.0], [11.0, 45.0], [11.0, 46.0], [10.0, 46.0], [10.0, 45.0]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"S2A_32TQR_{when:%Y%m%d}_{number}_L2A",
        "collection": "c",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [10.0, 45.0, 11.0, 46.0],
        "properties": {
            "datetime": when.isoformat().replace("+00:00", "Z"),
            "eo:cloud_cover": 10.0 * number + when.day,
            "s2:product_uri": f"S2A_MSIL2A_{when:%Y%m%dT%H%M%S}_N0500_R022_T32TQR_x.SAFE",
            "s2:datastrip_id": f"S2A_OPER_MSI_L2A_DS_S2RP_x_S{when:%Y%m%dT%H%M%S}_N05.00",
            "s2:processing_baseline": f"0{4 + number}.00",
            **members,
        },
        "assets": {
            "red": {"href": f"https://a.example/{when:%Y%m%d}/{number}/B04.tif"},
            "thumbnail": {"href": "https://a.example/t.jpg", "roles": ["thumbnail"]},
        },
        "links": [{"rel": "self", "href": "https://a.example/self"}],
    }


@pytest.fixture
def snap(catalogue: Any) -> Any:
    """Takes a snapshot of the served Items."""
    provider = replace(
        EARTH_SEARCH,
        stac_url=catalogue.url,
        collections={"c": EARTH_SEARCH.collections["sentinel-2-l2a"]},
        limits=Limits(page_limit=10, concurrent_searches=4),
    )

    def take(**changes: Any) -> Snapshot:
        asked = {"collections": ("c",), "aoi": HERE, "start": START, "end": START + timedelta(9)}
        return take_snapshot(provider, ItemQuery(**(asked | changes)))

    return take


@pytest.fixture
def week(catalogue: Any) -> list[dict[str, Any]]:
    catalogue.items = [
        a_scene(number, START + timedelta(days=day, hours=10))
        for day in (0, 3, 6)
        for number in ((0, 1) if day == 3 else (0,))
    ]
    return catalogue.items


def test_a_snapshot_says_what_it_holds_and_what_it_left_out(snap: Any, week: Any) -> None:
    taken = snap(predicates=(Predicate("eo:cloud_cover", "lte", 14),))
    assert [item["id"][10:20] for item in taken.items] == ["20240601_0", "20240604_1", "20240607_0"]
    (dropped,) = taken.superseded
    assert (dropped.id, dropped.kept) == ("S2A_32TQR_20240604_0_L2A", "S2A_32TQR_20240604_1_L2A")
    assert dropped.reason == "processing baseline 04.00 < 05.00"
    assert taken.rejected == ()
    assert (taken.summary.count, taken.summary.days) == (3, 3)
    assert (taken.summary.cloud_min, taken.summary.cloud_max) == (1.0, 14.0)
    assert taken.summary.cloud_mean == pytest.approx(22 / 3)
    assert taken.summary.metadata_bytes == sum(
        len(json.dumps(item, separators=(",", ":"))) for item in taken.items
    )
    assert taken.query["predicates"] == [["eo:cloud_cover", "lte", 14]]


def test_it_comes_back_as_it_was_written(snap: Any, week: Any, tmp_path: Path) -> None:
    taken = snap(predicates=(Predicate("eo:cloud_cover", "lte", 10),))
    assert taken.rejected
    url = str(tmp_path / "deep" / "er" / "2024-06-01.parquet")
    write(taken, url)
    back = read(url)
    assert back == taken
    assert read_header(url).fingerprint == taken.fingerprint
    assert read_header(f"file://{url}").summary == taken.summary
    assert back.aoi == HERE
    assert sorted(path.name for path in Path(url).parent.iterdir()) == [
        "2024-06-01.json",
        "2024-06-01.parquet",
    ]


def test_it_lies_in_a_bucket_as_well(snap: Any, week: Any) -> None:
    url = "memory://bucket/snapshots/2024-06-01.parquet"
    taken = snap()
    write(taken, url)
    assert read(url) == taken
    assert read_header(url).fingerprint == taken.fingerprint


def test_every_reader_reads_it(snap: Any, week: Any, tmp_path: Path) -> None:
    url = str(tmp_path / "s.parquet")
    taken = snap()
    write(taken, url)
    names = [item["id"] for item in taken.items]
    assert [item["id"] for item in peer.stac_table_to_items(pq.read_table(url))] == names
    assert [item["id"] for item in rustac.read_sync(url)["features"]] == names
    collection = pystac.ItemCollection.from_file(item_collection_url(url))
    assert [item.id for item in collection] == names
    assert json.loads(Path(item_collection_url(url)).read_text())["features"] == taken.items


def test_nothing_found_is_a_snapshot_too(snap: Any, tmp_path: Path) -> None:
    taken = snap()
    url = str(tmp_path / "s.parquet")
    write(taken, url)
    assert read(url) == taken
    assert read(url).items == []
    assert read_header(url).summary.cloud_mean is None
    assert json.loads(Path(item_collection_url(url)).read_text())["features"] == []


def test_an_unchanged_catalogue_gives_the_same_bytes(
    snap: Any, week: list[Any], tmp_path: Path
) -> None:
    urls = [str(tmp_path / name) for name in ("a.parquet", "b.parquet")]
    first = snap()
    write(first, urls[0])
    week.reverse()
    second = snap()
    write(second, urls[1])
    assert first.fingerprint == second.fingerprint
    assert Path(urls[0]).read_bytes() == Path(urls[1]).read_bytes()


def test_a_failed_search_leaves_the_old_snapshot(
    snap: Any, catalogue: Any, week: Any, answer: Any, tmp_path: Path
) -> None:
    url = str(tmp_path / "s.parquet")
    write(snap(), url)
    before = Path(url).read_bytes()
    catalogue.faults = [answer(500)]
    with pytest.raises(ServiceError):
        snap()
    assert Path(url).read_bytes() == before


def test_a_signature_outside_the_hrefs_stops_the_write(
    snap: Any, week: list[Any], tmp_path: Path
) -> None:
    week[0]["properties"]["note"] = "https://x.example/y?sv=2021&sig=abcdefghijklmnopqrstuvwx%3D"
    url = str(tmp_path / "s.parquet")
    with pytest.raises(IntegrityError, match="S2A_32TQR_20240601_0_L2A holds a signature"):
        write(snap(), url)
    assert list(tmp_path.iterdir()) == []


def test_other_parquet_is_not_a_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    parquet.write_items([a_scene(0, START)], path, facts={})
    with pytest.raises(IntegrityError, match=r"s\.parquet is not a snapshot"):
        read(str(path))
    with pytest.raises(FileNotFoundError):
        read(str(tmp_path / "none.parquet"))


# The fingerprint


def changed(item: dict[str, Any], change: Any) -> dict[str, Any]:
    copied = copy.deepcopy(item)
    change(copied)
    return copied


PASSING = {
    "links": lambda i: i["links"].append({"rel": "root", "href": "x"}),
    "no links": lambda i: i.pop("links"),
    "a signature": lambda i: i["assets"]["red"].update(
        href=i["assets"]["red"]["href"] + "?st=2024&se=2025&sig=abc%3D"
    ),
    "a tile service": lambda i: i["assets"].update(tilejson={"href": "https://t.example/?x=1"}),
    "a thumbnail": lambda i: i["assets"]["thumbnail"].update(href="https://a.example/t2.jpg"),
    "an expiry date": lambda i: i["properties"].update(expires="9999-01-01T00:00:00Z"),
    "the spelling of a date": lambda i: i["properties"].update(
        datetime=i["properties"]["datetime"].replace("Z", ".000+00:00")
    ),
    "the order of assets": lambda i: i.update(assets=dict(reversed(i["assets"].items()))),
    "integers for floats": lambda i: i["geometry"].update(
        coordinates=[[[int(x), int(y)] for x, y in i["geometry"]["coordinates"][0]]]
    ),
}
LASTING = {
    "id": lambda i: i.update(id="other"),
    "collection": lambda i: i.update(collection="d"),
    "an href": lambda i: i["assets"]["red"].update(href="https://a.example/other.tif"),
    "a new asset": lambda i: i["assets"].update(nir={"href": "https://a.example/nir.tif"}),
    "updated": lambda i: i["properties"].update(updated="2024-07-01T00:00:00Z"),
    "generation time": lambda i: i["properties"].update(
        {"s2:generation_time": "2024-07-01T00:00:00Z"}
    ),
    "a checksum": lambda i: i["assets"]["red"].update({"file:checksum": "1220aa"}),
    "datetime": lambda i: i["properties"].update(datetime="2024-06-01T10:00:00.001Z"),
    "geometry": lambda i: i["geometry"]["coordinates"][0][2].__setitem__(0, 11.001),
}


@pytest.mark.parametrize("change", PASSING.values(), ids=PASSING)
def test_what_is_not_content(change: Any) -> None:
    scene = a_scene(0, START + timedelta(hours=10))
    assert item_fingerprint(changed(scene, change)) == item_fingerprint(scene)


@pytest.mark.parametrize("change", LASTING.values(), ids=LASTING)
def test_what_is_content(change: Any) -> None:
    scene = a_scene(0, START + timedelta(hours=10))
    assert item_fingerprint(changed(scene, change)) != item_fingerprint(scene)


def test_another_process_computes_the_same(tmp_path: Path) -> None:
    scenes = [a_scene(n, START + timedelta(days=n)) for n in range(3)]
    path = tmp_path / "items.json"
    path.write_text(json.dumps(scenes))
    script = (
        "import json, sys; from geostack_dagster.catalog.snapshot import snapshot_fingerprint; "
        "print(snapshot_fingerprint(json.load(open(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        check=True,
        text=True,
        env={"PYTHONHASHSEED": "17"},
    )
    assert done.stdout.strip() == snapshot_fingerprint(scenes)


_SCENES = st.lists(
    st.builds(
        lambda number, minutes, members: a_scene(
            number, START + timedelta(minutes=minutes), **members
        ),
        st.integers(0, 3),
        st.integers(0, 60 * 24 * 8),
        st.dictionaries(
            st.sampled_from(["updated", "created", "expires", "proj:epsg", "note"]),
            st.none() | st.sampled_from(["2024-06-01T00:00:00Z", "72"]) | st.integers(0, 99999),
        ),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(scenes=_SCENES, seed=st.integers())
def test_the_fingerprint_survives_order_and_storage(
    scenes: list[dict[str, Any]], seed: int
) -> None:
    shuffled = random.Random(seed).sample(scenes, len(scenes))
    assert snapshot_fingerprint(shuffled) == snapshot_fingerprint(scenes)
    sink = io.BytesIO()
    parquet.write_items(shuffled, sink, facts={})
    stored = parquet.read_items(io.BytesIO(sink.getvalue()))
    assert stored == shuffled
    assert snapshot_fingerprint(stored) == snapshot_fingerprint(scenes)


# Differences


def test_what_changed_since_and_on_which_day(snap: Any, week: list[Any]) -> None:
    before = snap()
    week[0]["properties"]["updated"] = "2024-06-09T00:00:00Z"
    week[0]["assets"]["red"]["href"] = "https://a.example/reprocessed.tif"
    week[0]["links"] = []
    week[-1]["links"] = []
    del week[1:3]  # both versions of the 4th
    week.append(a_scene(0, START + timedelta(days=7, hours=23)))
    found = diff(before, snap())
    assert [change.id[10:18] for change in found.added] == ["20240608"]
    assert [change.id[10:20] for change in found.removed] == ["20240604_1"]
    (change,) = found.changed
    assert change.members == ("assets.red.href", "properties.updated")
    days = found.by_day()
    assert list(days) == [date(2024, 6, 1), date(2024, 6, 4), date(2024, 6, 8)]
    assert days[date(2024, 6, 4)].removed == found.removed
    assert days[date(2024, 6, 1)].added == ()


def test_no_difference(snap: Any, week: list[Any]) -> None:
    before = snap()
    for item in week:
        item["links"] = []
    assert diff(before, snap()).is_empty
    assert len(diff(None, before).added) == 3
