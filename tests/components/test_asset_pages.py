"""What a person sees on an asset's page: of every pipeline's assets, before anything is made."""

from datetime import timedelta

import dagster as dg
import pyarrow.parquet as pq
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from geostack_dagster.components.columns import table_schema
from geostack_dagster.definitions import defs
from geostack_dagster.providers import PROVIDERS

STAGES = ("snapshot", "stack", "cube", "indices", "enhancement", "plumes")
ALL = defs().resolve_all_asset_specs()
SPECS = {
    spec.key: spec
    for spec in ALL
    if spec.key.path[-1] in STAGES and spec.key.path[0] == spec.group_name
}


DETECTOR = "plume_detector"
LOOP = {spec.key.path[-1]: spec for spec in ALL if spec.key.path[0] == DETECTOR}


@pytest.fixture(params=sorted(SPECS), ids=lambda key: "/".join(key.path))
def spec(request) -> dg.AssetSpec:
    return SPECS[request.param]


def _columns(spec: dg.AssetSpec) -> dict[str, dg.TableColumn]:
    return {column.name: column for column in spec.metadata["dagster/column_schema"].columns}


def test_it_says_what_it_is_whose_it_is_and_where_it_lies(spec):
    pipeline, noun = spec.key.path
    assert spec.group_name == pipeline
    assert PROVIDERS[spec.tags["provider"]].description in spec.description
    assert f"{pipeline}_reconcile" in spec.description
    assert spec.owners
    assert spec.kinds
    assert {"provider", "collection", "cadence"} <= spec.tags.keys()
    folder = {"snapshot": "snapshots", "stack": "recipes", "plumes": "published/plumes"}
    where = f"<storage>/{pipeline}/{folder.get(noun, 'cubes')}/<aoi>"
    assert spec.metadata["artefact"].value.startswith(where)


def test_tables_and_cubes_say_their_columns(spec):
    noun = spec.key.path[-1]
    columns = _columns(spec)
    assert all(column.description and column.type for column in columns.values())
    wanted = {
        "snapshot": {"id", "geometry", "assets"},
        "stack": {"snapshot", "items", "fingerprint"},
        "enhancement": {"enhancement", "uncertainty", "sensitivity"},
        "plumes": {"rate_kg_h", "state", "geometry"},
        "indices": {"NDVI"},
    }
    assert wanted.get(noun, set()) <= columns.keys()


def test_bands_of_a_cube_say_wavelength_and_class_codes():
    columns = _columns(SPECS[dg.AssetKey(["earth_search_s2", "cube"])])
    assert list(columns) == ["B02", "B03", "B04", "B08", "B11", "B12", "SCL"]
    assert columns["B04"].description.startswith("red, 664.6 nm")
    assert columns["SCL"].type == "uint8 (classes)"


def test_every_index_says_its_formula():
    columns = _columns(SPECS[dg.AssetKey(["earth_search_s2", "indices"])])
    texts = [column.description for column in columns.values()]
    assert columns["NDVI"].description.startswith(
        "normalised difference vegetation index: (nir - red) / (nir + red) of the reflectance"
    )
    assert len(set(texts)) == len(texts) > 1


def test_it_may_not_grow_old_unseen(spec):
    policy = spec.freshness_policy
    assert isinstance(policy, dg.FreshnessPolicy)
    assert policy == dg.FreshnessPolicy.time_window(
        warn_window=timedelta(hours=36), fail_window=timedelta(hours=72)
    )
    assert "no freshness of single partitions" in spec.description


def test_the_loop_has_all_of_its_assets_in_one_group():
    assert set(LOOP) == {"training_set", "challenger", "evaluation", "gate", "champion", "drift"}
    assert {spec.group_name for spec in LOOP.values()} == {DETECTOR}


@pytest.mark.parametrize("noun", sorted(LOOP))
def test_an_asset_of_the_loop_says_what_it_is_whose_it_is_and_where_it_lies(noun):
    spec = LOOP[noun]
    assert len(spec.description) > 100
    assert spec.owners == ["team:methane"]
    assert spec.kinds
    assert spec.metadata["artefact"].value.startswith(("<storage>/learning/", "<storage>/models/"))
    assert f"/{DETECTOR}/" in spec.metadata["artefact"].value
    parents = {dep.asset_key.path[-1] for dep in spec.deps}
    assert (
        parents
        == {
            "training_set": {"cube"},
            "challenger": {"training_set"},
            "evaluation": {"challenger"},
            "gate": {"evaluation"},
            "champion": {"gate"},
            "drift": {"champion"},
        }[noun]
    )


def test_an_asset_of_the_loop_may_not_grow_old_unseen():
    windows = {
        noun: (policy.warn_window.to_timedelta(), policy.fail_window.to_timedelta())
        for noun, spec in LOOP.items()
        if isinstance(policy := spec.freshness_policy, TimeWindowFreshnessPolicy)
    }
    assert windows.pop("drift") == (timedelta(days=8), timedelta(days=16))
    assert windows == dict.fromkeys(
        set(LOOP) - {"drift"}, (timedelta(days=180), timedelta(days=360))
    )


def test_checks_of_the_loop_stand_in_the_way_where_harm_would_be_done():
    graph = defs().resolve_asset_graph()
    checks = {
        key.name: graph.get_check_spec(key)
        for key in graph.asset_check_keys
        if key.asset_key.path[0] == DETECTOR
    }
    assert {name: spec.blocking for name, spec in checks.items()} == {
        "no_leakage": True,
        "learns": False,
        "integrity": False,
        "weights": False,
        "promotable": True,
        "no_drift": False,
    }
    assert all(spec.description for spec in checks.values())


def test_chip_columns_are_those_of_the_index(tmp_path):
    from geostack_dagster.learning.chip_index import write_index

    write_index(str(tmp_path / "chips.parquet"), [])
    written = pq.read_schema(tmp_path / "chips.parquet")
    columns = _columns(LOOP["training_set"])
    assert list(columns) == written.names
    assert all(one.description for one in columns.values())
    for name, column in columns.items():
        kind = str(written.field(name).type)
        assert kind.startswith(column.type), (name, kind)


def test_plume_columns_are_those_of_the_table():
    from geostack_dagster.pipeline.methane.columns import PLUME_COLUMNS

    columns = _columns(SPECS[dg.AssetKey(["earthaccess_emit", "plumes"])])
    assert list(columns) == [*PLUME_COLUMNS, "geometry"]


def test_columns_of_a_file_are_described_where_they_are_known():
    found = table_schema({"geometry": "binary", "eo:cloud_cover": "double", "own:idea": "double"})
    described = [(one.name, one.type, bool(one.description)) for one in found.columns]
    assert described == [
        ("geometry", "binary", True),
        ("eo:cloud_cover", "double", True),
        ("own:idea", "double", False),
    ]


def test_a_type_that_would_fill_a_page_is_shortened():
    short = "struct<xmin: double, ymin: double, xmax: double, ymax: double>"
    members = ", ".join(f"B{number:02}: struct<href: string>" for number in range(13))
    found = table_schema({"bbox": short, "assets": f"struct<{members}>"})
    assert [one.type for one in found.columns] == [short, "struct"]
