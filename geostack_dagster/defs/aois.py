"""AOIs: files in a folder become partitions."""

import dagster as dg

from geostack_dagster.components.partitions import AOIS
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.counts import counted
from geostack_dagster.errors import ConfigurationError, IntegrityError
from geostack_dagster.pipeline.workspace import aoi_files
from geostack_dagster.resources.storage import Storage


@dg.sensor(
    name="aoi_sensor",
    minimum_interval_seconds=30,
    description="Makes a partition of every GeoJSON file that is new in the AOI folder.",
)
def aoi_sensor(
    context: dg.SensorEvaluationContext, storage: Storage
) -> dg.SensorResult | dg.SkipReason:
    """Registers every new GeoJSON file of the AOI folder: pins its grid, adds its partition."""
    known = set(context.instance.get_dynamic_partitions(AOIS.name or ""))
    added, refused = [], []
    for path in aoi_files(storage.aoi_folder):
        if path.stem in known:
            continue
        try:
            added.append(storage.workspace().pin(AOI.from_file(path)).aoi.name)
        except (ConfigurationError, IntegrityError) as error:
            refused.append(str(error))
    for reason in refused:
        context.log.error(reason)
    if not added:
        found = f"{counted(len(known), 'AOI')} registered, no new file in {storage.aoi_folder}"
        return dg.SkipReason("; ".join([found, *refused]))
    context.log.info("registered %s", ", ".join(added))
    return dg.SensorResult(dynamic_partitions_requests=[AOIS.build_add_request(added)])
