"""A code location with one small detector over the storage that `SMALL_LOOP` names."""

import os

import dagster as dg

from geostack_dagster.components.detector_assets import detector_assets
from geostack_dagster.components.detector_sensors import Look, retrain_sensor
from geostack_dagster.resources.storage import Storage
from tests.pipeline.learning.sites import loop_in

ROOT = os.environ["SMALL_LOOP"]
LOOP = loop_in(ROOT)
defs = dg.Definitions(
    assets=detector_assets(LOOP.spec, owners=["team:methane"]),
    sensors=[retrain_sensor(LOOP.spec, Look())],
    resources={"storage": Storage(root=ROOT, aoi_folder="")},
    executor=dg.in_process_executor,
)
