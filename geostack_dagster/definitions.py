"""The code location: every pipeline below `defs/`, and the resources they share."""

import warnings
from pathlib import Path

import dagster as dg

from geostack_dagster.resources.access import access_resources
from geostack_dagster.resources.dask import DaskResource
from geostack_dagster.resources.storage import Storage

# Partitioned checks and backfill policies are beta in Dagster, and used on purpose.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


@dg.definitions
def defs() -> dg.Definitions:
    """Pipelines, sensors and schedules, with resources whose values are read at launch."""
    return equipped(dg.load_from_defs_folder(path_within_project=Path(__file__).parent))


def equipped(definitions: dg.Definitions) -> dg.Definitions:
    """The definitions with this project's resources and executor."""
    return dg.Definitions.merge(
        definitions,
        dg.Definitions(
            resources={
                "storage": Storage(
                    root=dg.EnvVar("GEOSTACK_STORAGE"), aoi_folder=dg.EnvVar("GEOSTACK_AOIS")
                ),
                "dask": DaskResource.from_environment(),
                **access_resources(),
            },
            # Steps share one process: parallelism is threads inside a step and runs beside runs.
            executor=dg.in_process_executor,
        ),
    )
