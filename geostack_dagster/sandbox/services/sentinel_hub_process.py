"""Sentinel Hub's Process API, for the same tokens as its catalogue."""

from geostack_dagster.sandbox import bearer
from geostack_dagster.sandbox.process_api import ProcessTwin
from geostack_dagster.sandbox.service import Service, Setting


def sentinel_hub_process(setting: Setting) -> Service:
    """Renders the scenes of the catalogue; its host has other services too."""
    twin = ProcessTwin(setting.archives["sentinel_hub"].catalogue, setting.world)
    return Service(
        hosts=("sh.dataspace.copernicus.eu/api/v1/process",),
        app=bearer.guarded(twin, setting.accounts.copernicus, bearer.SENTINEL_HUB),
    )
