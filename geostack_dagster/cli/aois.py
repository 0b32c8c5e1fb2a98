"""Registering AOIs by hand."""

from pathlib import Path
from typing import Any

from geostack_dagster.cli.terminal import required
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.pipeline.workspace import Workspace


def add(file: Path, crs: str | None) -> dict[str, Any]:
    """Pin the AOI of a file and add its partition; facts about what was registered."""
    import dagster as dg

    from geostack_dagster.components.partitions import AOIS

    pin = Workspace(required("GEOSTACK_STORAGE")).pin(AOI.from_file(file), crs=crs)
    required("DAGSTER_HOME")
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(AOIS.name or "", [pin.aoi.name])
    return {"aoi": pin.aoi.name, "crs": pin.crs, "bbox": list(pin.aoi.bbox)}
