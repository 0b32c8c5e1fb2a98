"""Where the project keeps its state, as a Dagster resource."""

import dagster as dg

from geostack_dagster.auth.resolution import Settings
from geostack_dagster.engine import Engine
from geostack_dagster.pipeline.workspace import Workspace


class Storage(dg.ConfigurableResource["Storage"]):
    """A storage root and the folder of AOI files.

    Secrets of a bucket are read from the environment (`AWS_*`, `AZURE_*`, `GOOGLE_*`), never from
    run config.
    """

    root: str
    """Folder, or `s3://`, `az://`, `gs://` URL."""
    aoi_folder: str
    """Folder with one GeoJSON file for each AOI."""

    def workspace(
        self, settings: Settings | None = None, engine: Engine | None = None
    ) -> Workspace:
        """The domain object behind the resource, with what other resources gave."""
        return Workspace(self.root, settings or Settings(), engine or Engine())
