"""Methane through the stages over the twins: mass and rates near the truth, work done once."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, time
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio

from geostack_dagster.auth.redaction import scan
from geostack_dagster.cube.store import open_store
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.partition import Partition
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.inference.enhancement import Calibration
from geostack_dagster.pipeline.methane.targets import fit_of
from geostack_dagster.pipeline.reconcile import find_stale
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.pipeline.spec import MethaneMethod, MethaneSpec, PipelineSpec, WindSpec
from geostack_dagster.pipeline.stages import module_of
from geostack_dagster.pipeline.workspace import Workspace
from geostack_dagster.providers import provider_named
from geostack_dagster.sandbox import AOIS
from geostack_dagster.sandbox.plumes import SOURCES
from geostack_dagster.sandbox.winds import wind_table
from geostack_dagster.sandbox.world import World

DAY = "2024-06-13"
AREA = "rio_cuarto"
SOURCE = next(source for source in SOURCES if source.name == AREA)
TRUE_KG_H = 1000 * SOURCE.rate_t_h(date.fromisoformat(DAY))
MAG1C = MethaneMethod.MAG1C
SWATH = {
    "provider": provider_named("earthaccess"),
    "collection": "EMITL1BRAD_001",
    "wavelengths_nm": (
        *((nm - 4.0, nm + 4.0) for nm in (450, 1000, 1250, 1380, 1650)),
        (2110.0, 2500.0),
    ),
    "methane": MethaneSpec(
        method=MethaneMethod.MATCHED_FILTER, wind=WindSpec(table="wind.csv", sigma_m_s=0.5)
    ),
}
GIVEN = {
    "provider": provider_named("lpcloud"),
    "collection": "EMITL2BCH4ENH_002",
    "bands": ("enhancement", "uncertainty", "sensitivity"),
    "methane": MethaneSpec(
        method=MethaneMethod.ARCHIVE, wind=WindSpec(table="wind.csv", sigma_m_s=0.5)
    ),
}
RELATIVE = {
    "provider": provider_named("enmap"),
    "collection": "ENMAP_HSI_L2A",
    "bands": ("red", "nir"),
    "wavelengths_nm": ((2250.0, 2400.0),),
    "methane": MethaneSpec(method=MethaneMethod.RELATIVE),
    "resolution": 30.0,
    "margin_m": 600.0,
}


def spec_of(name: str, facts: dict[str, object]) -> PipelineSpec:
    usual = {
        "name": name,
        "bands": (),
        "start": date(2024, 6, 1),
        "resolution": 60.0,
        "margin_m": 3000.0,
        "chunk": 128,
    }
    return PipelineSpec(**(usual | facts))


@pytest.fixture
def workspace(tmp_path, in_sandbox) -> Workspace:
    found = Workspace(str(tmp_path / "storage"))
    found.pin(AOI.from_file(AOIS / f"{AREA}.geojson"))
    Path(found.root, "wind.csv").write_text(wind_table([date.fromisoformat(DAY)]))
    return found


def run(spec: PipelineSpec, workspace: Workspace, *stages: str) -> dict[str, StageReport]:
    partition = Partition(spec.name, AREA, DAY, spec.cadence)
    return {
        stage: module_of(spec, stage).run(spec, partition, workspace)
        for stage in stages or spec.stages
    }


def plumes(spec: PipelineSpec, workspace: Workspace) -> geopandas.GeoDataFrame:
    partition = Partition(spec.name, AREA, DAY, spec.cadence)
    (file,) = Path(workspace.layout.published(partition, "plumes")).glob("*.parquet")
    return geopandas.read_parquet(file)


@pytest.mark.parametrize("facts", [SWATH, GIVEN], ids=["matched_filter", "archive"])
def test_a_known_emission_is_found_and_weighed(workspace, facts):
    spec = spec_of("methane", facts)

    reports = run(spec, workspace)

    queue = reports.pop("review")  # empty where all is sure and the scene was not drawn
    assert {one.outcome.value for one in reports.values()} == {"written"}
    assert (queue.outcome.value == "empty") == (queue.facts["candidates"] == 0)
    table = plumes(spec, workspace)
    sure = table[table["state"] == "PLUME"]
    assert len(sure) == 1
    (row,) = sure.to_dict("records")
    assert row["rate_95_low_kg_h"] < TRUE_KG_H < row["rate_95_high_kg_h"]
    assert row["rate_kg_h"] == pytest.approx(TRUE_KG_H, rel=0.3)
    assert row["wind_m_s"] == pytest.approx(SOURCE.wind(date.fromisoformat(DAY))[0], abs=0.01)
    assert not np.isnan(row["wind_from_deg"])

    store = open_store(workspace.layout.cube(spec.name, AREA))
    grid = store.schema("enhancement").grid
    found = store.open("enhancement").sel(time=DAY)["enhancement"].to_numpy()
    truth = World().methane(grid, datetime.combine(date.fromisoformat(DAY), time(12), tzinfo=UTC))
    both = np.isfinite(found) & (truth > 100)
    background = np.median(found[np.isfinite(found) & (truth < 1)])
    assert (found[both] - background).sum() / truth[both].sum() == pytest.approx(1, abs=0.25)
    assert scan([Path(workspace.root)]) == []


def test_a_sparse_map_is_nothing_for_a_detector():
    with pytest.raises(ConfigurationError, match="matched_filter"):
        MethaneSpec(method=MAG1C, detector="plume_detector")


def test_mag1c_finds_the_plume_says_so_and_gives_no_rate(workspace):
    spec = spec_of("sparse", SWATH | {"methane": replace(SWATH["methane"], method=MAG1C)})
    assert spec.code_version("enhancement") != spec_of("sparse", SWATH).code_version("enhancement")

    reports = run(spec, workspace)

    facts = reports["enhancement"].facts
    (retrieval,) = facts["retrieval"].values()
    assert retrieval["operator"].startswith("Mag1c(")
    assert facts["calibration"] == Calibration.SPARSE
    store = open_store(workspace.layout.cube(spec.name, AREA))
    assert store.schema("enhancement").attrs["method"] == "mag1c"
    found = store.open("enhancement").sel(time=DAY)["enhancement"].to_numpy()
    truth = World().methane(
        store.schema("enhancement").grid,
        datetime.combine(date.fromisoformat(DAY), time(12), tzinfo=UTC),
    )
    seen = np.isfinite(found)
    assert (found[seen] >= 0).all()
    strong, empty = seen & (truth > 3000), seen & (truth < 1)
    assert np.median(found[empty]) == 0
    assert 0.6 < found[strong].sum() / truth[strong].sum() < 1.1

    table = plumes(spec, workspace)
    (sure,) = table[table["state"] == "PLUME"].to_dict("records")
    assert np.isnan(sure["rate_kg_h"])
    assert "plain matched filter" in sure["not_quantified"]
    for stage in ("enhancement", "plumes"):
        folder = Path(workspace.layout.published(Partition(spec.name, AREA, DAY), stage))
        (item,) = (json.loads(path.read_text()) for path in folder.glob("*.json"))
        assert item["properties"]["geostack:method"] == "mag1c"
        assert item["properties"]["geostack:target"] == facts["target"]
        assert " by mag1c from " in item["properties"]["processing:lineage"]

    again = run(spec, workspace)
    assert {again[one].outcome.value for one in ("enhancement", "plumes")} == {"unchanged"}


def test_the_range_of_the_fit_is_a_setting_and_another_target():
    asked = SWATH["methane"]
    narrow = replace(asked, fit_ppm_m=(0.0, 500.0, 1000.0))
    specs = [spec_of("methane", SWATH | {"methane": one}) for one in (asked, narrow)]
    assert fit_of(narrow).columns_ppm_m == (0.0, 500.0, 1000.0)
    assert len({spec.code_version("enhancement") for spec in specs}) == 2
    with pytest.raises(ConfigurationError, match="make no fit"):
        fit_of(replace(asked, fit_ppm_m=(0.0, 500.0)))


def test_under_a_closed_sky_nothing_can_be_said(workspace):
    """From radiance, which no archive has screened: no plume would be a false statement."""
    spec = spec_of("methane", SWATH)
    Path(workspace.root, "wind.csv").write_text(wind_table([date(2024, 6, 18)]))
    partition = Partition(spec.name, AREA, "2024-06-18", spec.cadence)
    reports = {
        stage: module_of(spec, stage).run(spec, partition, workspace) for stage in spec.stages
    }
    (facts,) = reports["enhancement"].facts["retrieval"].values()
    assert facts["screened"]["cloud"] > 80_000
    assert facts["noise"].startswith("EMIT")
    assert reports["enhancement"].facts["observed_fraction"] < 0.3
    assert reports["plumes"].facts["plumes"] == 0
    assert reports["plumes"].facts["states"] in {"UNOBSERVABLE", "UNCERTAIN"}  # never NO_PLUME


def test_the_second_time_nothing_is_done_and_another_wind_redoes_the_plumes_alone(workspace):
    spec = spec_of("methane", SWATH)
    partition = Partition(spec.name, AREA, DAY, spec.cadence)
    run(spec, workspace)
    again = run(spec, workspace)
    assert {one.outcome.value for one in again.values()} <= {"unchanged", "empty"}
    assert list(find_stale(spec, workspace, [partition])) == []

    wind = Path(workspace.root, "wind.csv")
    wind.write_text(wind.read_text().replace(",2024-06-13T00:", ",2024-06-13T01:"))

    (stale,) = find_stale(spec, workspace, [partition])
    assert stale.stage == "plumes"
    outcomes = {stage: one.outcome.value for stage, one in run(spec, workspace).items()}
    redone = {stage for stage, outcome in outcomes.items() if outcome == "written"}
    assert "plumes" in redone <= {"plumes", "review"}


def test_what_is_only_relative_gets_no_rate(workspace):
    spec = spec_of("relative", RELATIVE)

    report = run(spec, workspace)["plumes"]

    table = plumes(spec, workspace)
    assert len(table) > 0
    assert table["rate_kg_h"].isna().all()
    assert table["not_quantified"].str.contains("relative").all()
    assert "rate_kg_h" not in {k for k, v in report.facts.items() if v is not None}
    partition = Partition(spec.name, AREA, DAY, spec.cadence)
    folder = Path(workspace.layout.published(partition, "plumes"))
    item = json.loads((folder / f"relative-plumes-{AREA}-{DAY}.json").read_text())
    assert item["properties"]["geostack:calibration"] == "relative, uncalibrated"
    assert item["properties"]["geostack:rate_kg_h"] is None
    outlines = json.loads(next(folder.glob("*.geojson")).read_text())["features"]
    assert all(one["properties"]["rate_95_high_kg_h"] is None for one in outlines)


def test_a_published_scene_says_what_it_was_made_from(workspace):
    spec = spec_of("methane", SWATH)
    run(spec, workspace)
    partition = Partition(spec.name, AREA, DAY, spec.cadence)
    for product in ("enhancement", "plumes"):
        folder = Path(workspace.layout.published(partition, product))
        (file,) = [path for path in folder.glob("*.json") if path.stem.startswith("methane")]
        item = json.loads(file.read_text())
        assert item["properties"]["geostack:calibration"] == "absolute"
        target = json.loads(
            Path(workspace.layout.target(item["properties"]["geostack:target"])).read_text()
        )
        assert len(target["unit_absorption_per_ppm_m"]) == len(target["wavelength_nm"]) > 50
        assert min(target["unit_absorption_per_ppm_m"]) < -1e-5
        assert target["fit"]["columns_ppm_m"][-1] == 4000
        assert item["properties"]["geostack:sources"]
        for asset in item["assets"].values():
            assert (folder / asset["href"]).is_file()
        assert {"processing:lineage", "proj:code"} <= item["properties"].keys()
    outlines = json.loads(next(folder.glob("*.geojson")).read_text())
    assert outlines["type"] == "FeatureCollection"


@pytest.mark.parametrize(
    ("facts", "product"),
    [(SWATH, "enhancement"), (GIVEN, "plumes")],
    ids=["matched_filter", "archive"],
)
def test_a_mask_says_which_pixels_may_be_used(workspace, facts, product):
    spec = spec_of("methane", facts)
    run(spec, workspace)
    folder = Path(
        workspace.layout.published(Partition(spec.name, AREA, DAY, spec.cadence), product)
    )
    (mask_file,) = folder.glob("*-mask.tif")
    (data_file,) = set(folder.glob("*.tif")) - {mask_file}
    with rasterio.open(mask_file) as mask, rasterio.open(data_file) as data:
        classes = mask.read(1)
        names = list(data.descriptions)
        assert {"enhancement", "uncertainty", "sensitivity"} <= set(names)
        enhancement = data.read(names.index("enhancement") + 1)
    assert np.isfinite(enhancement[classes == 1]).all()
    assert np.isnan(enhancement[classes == 0]).all()
    assert (classes == 1).mean() > 0.5
    assert (classes == 0).any()
    if product == "enhancement":
        store = open_store(workspace.layout.cube(spec.name, AREA))
        stored = store.open("enhancement").sel(time=DAY)["mask"]
        assert stored.attrs["flag_meanings"] == "no_value usable insensitive"
        assert np.array_equal(stored.to_numpy(), classes)


def test_a_doubtful_plume_says_why(workspace):
    spec = spec_of("relative", RELATIVE)
    run(spec, workspace)
    table = plumes(spec, workspace)
    unsure = table[table["state"] == "UNCERTAIN"]
    assert len(unsure) > 0
    assert unsure["uncertain_because"].str.contains("below|fewer|unobserved").all()
    assert table[table["state"] == "PLUME"]["uncertain_because"].isna().all()


def test_wind_that_is_missing_is_told_with_the_remedy(workspace):
    spec = spec_of("methane", GIVEN)
    Path(workspace.root, "wind.csv").write_text("longitude,latitude,time,u10,v10\n")
    with pytest.raises(ConfigurationError, match="add a row"):
        run(spec, workspace)
    Path(workspace.root, "wind.csv").write_text("longitude,latitude\n1,2\n")
    with pytest.raises(ConfigurationError, match="line 2"):
        run(spec, workspace, "plumes")
    Path(workspace.root, "wind.csv").unlink()
    with pytest.raises(ConfigurationError, match=r"no wind table at .*wind\.csv"):
        run(spec, workspace, "plumes")
    assert isinstance(spec.methane, MethaneSpec)
    calm = replace(spec, methane=replace(spec.methane, wind=WindSpec(speed_m_s=3.0)))
    assert run(calm, workspace, "plumes")["plumes"].outcome.value == "written"
