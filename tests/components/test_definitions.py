"""The code location: what it holds, how light it is, and what a typo says."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from geostack_dagster.definitions import defs
from geostack_dagster.providers import PROVIDERS

ROOT = Path(__file__).parents[2]
HEAVY = ("jax", "rasterio", "odc", "icechunk", "earthaccess", "xarray")


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return defs()


def test_every_pipeline_is_a_chain_with_outputs_at_its_end(definitions):
    graph = definitions.resolve_asset_graph()
    pipelines, detectors = declared("ProviderPipeline"), declared("PlumeDetector")

    keys = graph.get_all_asset_keys()
    assert {key.path[0] for key in keys} == pipelines | detectors
    for pipeline in pipelines:
        nouns = {key.path[1] for key in keys if key.path[0] == pipeline}
        chain = [dg.AssetKey([pipeline, noun]) for noun in ("snapshot", "stack", "cube")]
        parents = [graph.get(key).parent_keys for key in chain]
        assert parents == [set(), {chain[0]}, {chain[1]}]
        outputs = nouns - {"snapshot", "stack", "cube"}
        assert outputs
        for noun in outputs:
            parents = graph.get(dg.AssetKey([pipeline, noun])).parent_keys
            (parent,) = [key for key in parents if key.path[0] == pipeline]
            models = [key.path for key in parents if key.path[0] != pipeline]
            assert models == ([["plume_detector", "champion"]] if noun == "probability" else [])
            wanted = dict.fromkeys(
                ("plumes", "probability"), "enhancement" if "enhancement" in nouns else "cube"
            )
            wanted |= {"review": "plumes", "plume_labels": "snapshot"}
            assert parent.path[1] == wanted.get(noun, "cube")


def declared(component: str) -> set[str]:
    """Folders below `defs/` that declare such a component."""
    files = (ROOT / "geostack_dagster/defs").glob("*/defs.yaml")
    return {path.parent.name for path in files if f".{component}\n" in path.read_text()}


def test_a_detector_is_a_chain_from_labels_to_champion(definitions):
    graph = definitions.resolve_asset_graph()
    (detector,) = declared("PlumeDetector")
    keys = [
        dg.AssetKey([detector, noun])
        for noun in ("training_set", "challenger", "evaluation", "gate", "champion", "drift")
    ]
    parents = [graph.get(key).parent_keys for key in keys]
    assert parents == [{dg.AssetKey(["lpcloud_emit", "cube"])}, *({key} for key in keys[:-1])]
    assert all(graph.get(key).partitions_def is None for key in keys)
    (check,) = [key for key in graph.asset_check_keys if key.asset_key == keys[3]]
    assert graph.get_check_spec(check).blocking


def test_every_provider_has_a_pipeline(definitions):
    found = {spec.tags.get("provider") for spec in definitions.resolve_all_asset_specs()}
    assert found - {None} == set(PROVIDERS)


def test_automation_is_off_until_someone_turns_it_on(definitions):
    repository = definitions.get_repository_def()
    assert len(repository.sensor_defs) > len(repository.schedule_defs) > 1
    for sensor in repository.sensor_defs:
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
        assert sensor.description
    for schedule in repository.schedule_defs:
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
        assert schedule.description


def test_assets_say_what_they_are(definitions):
    for spec in definitions.resolve_all_asset_specs():
        assert spec.group_name == spec.key.path[0]
        assert spec.description
        assert spec.kinds
        assert spec.code_version
        if spec.group_name in declared("PlumeDetector"):
            continue
        assert isinstance(spec.partitions_def, dg.MultiPartitionsDefinition)
        assert spec.partitions_def.partition_dimension_names == ["aoi", "date"]


def test_the_component_names_every_index_that_inference_knows():
    from typing import get_args

    from geostack_dagster.components.provider_pipeline import IndexName
    from geostack_dagster.domain.indices import INDICES

    assert set(get_args(IndexName)) == set(INDICES)


def test_loading_needs_no_secret_and_no_heavy_module():
    code = (
        "import sys\n"
        "from geostack_dagster.definitions import defs\n"
        "defs().resolve_asset_graph()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )

    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("line", "typo", "named"),
    [
        ("  provider: earth_search", "  provider: earth_serch", "did you mean 'earth_search'"),
        (
            "  collection: sentinel-2-l2a",
            "  collection: sentinel-2",
            "did you mean 'sentinel-2-l2a'",
        ),
        (
            "  bands: [B02, B03, B04, B08, B11, B12, SCL]",
            "  bands: [B02, B0X]",
            "unknown band 'B0X'",
        ),
        ('  start: "2024-06-01"', '  strat: "2024-06-01"', "strat"),
        ("[NDVI, EVI, NDWI,", "[NDVI, EVVI, NDWI,", "EVVI"),
        ("    chunk: 512", "    chunck: 512", "chunck"),
        ("op: lte, value: 90", "op: lessthan, value: 90", "lessthan"),
        ('  start: "2024-06-01"', '  start: "2024-06-01"\n  end: "2023-01-01"', "backwards"),
    ],
)
def test_a_typo_in_defs_yaml_is_named(tmp_path, line, typo, named):
    source = ROOT / "geostack_dagster/defs/earth_search_s2/defs.yaml"
    text = source.read_text()
    assert line in text
    (tmp_path / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\nroot_module = "typo"\n'
    )
    folder = tmp_path / "typo" / "defs" / "mine"
    folder.mkdir(parents=True)
    (folder / "defs.yaml").write_text(text.replace(line, typo))
    for package in (tmp_path / "typo", tmp_path / "typo" / "defs"):
        (package / "__init__.py").write_text("")
    code = (
        "import dagster as dg, pathlib\n"
        f"dg.load_from_defs_folder(path_within_project=pathlib.Path({str(tmp_path)!r}))"
    )

    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode != 0
    assert named in result.stderr
