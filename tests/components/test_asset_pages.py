"""What a person sees on an asset's page: of every pipeline's assets, before anything is made."""

from datetime import timedelta

import dagster as dg
import pytest

from geostack_dagster.components.columns import table_schema
from geostack_dagster.definitions import defs
from geostack_dagster.providers import PROVIDERS

STAGES = ("snapshot", "stack", "cube", "indices", "enhancement", "plumes")
SPECS = {
    spec.key: spec
    for spec in defs().resolve_all_asset_specs()
    if spec.key.path[-1] in STAGES and spec.key.path[0] == spec.group_name
}


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
    if noun == "stack":
        assert "dagster/column_schema" not in spec.metadata
        return
    columns = _columns(spec)
    assert all(column.description and column.type for column in columns.values())
    wanted = {
        "snapshot": {"id", "geometry", "assets"},
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


def test_it_may_not_grow_old_unseen(spec):
    policy = spec.freshness_policy
    assert isinstance(policy, dg.FreshnessPolicy)
    assert policy == dg.FreshnessPolicy.time_window(
        warn_window=timedelta(hours=36), fail_window=timedelta(hours=72)
    )
    assert "no freshness of single partitions" in spec.description


def test_plume_columns_are_those_of_the_table():
    from geostack_dagster.pipeline.methane.columns import PLUME_COLUMNS

    columns = _columns(SPECS[dg.AssetKey(["earthaccess_emit", "plumes"])])
    assert list(columns) == [*PLUME_COLUMNS, "geometry"]


def test_columns_of_a_file_are_described_where_they_are_known():
    found = table_schema({"geometry": "binary", "eo:cloud_cover": "double"})
    described = [(one.name, one.type, bool(one.description)) for one in found.columns]
    assert described == [("geometry", "binary", True), ("eo:cloud_cover", "double", False)]
