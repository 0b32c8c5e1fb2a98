"""The environment in which the demo and the development server run the production code."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The project's folder, with workspace.yaml and dagster.yaml."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Folders of one self-contained instance of the project."""

    home: Path

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME."""
        return self.home / "dagster"

    @property
    def storage(self) -> Path:
        """Snapshots, recipes, cubes and products."""
        return self.home / "storage"

    @property
    def aois(self) -> Path:
        """AOI files."""
        return self.home / "aois"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that point the code location here."""
        return {
            "DAGSTER_HOME": str(self.dagster.resolve()),
            "GEOSTACK_STORAGE": str(self.storage.resolve()),
            "GEOSTACK_AOIS": str(self.aois.resolve()),
            # The first tick of a sensor imports what the code location does without.
            "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "300",
        }

    def prepare(self, *, aois: Path | None) -> None:
        """Make the folders; Dagster's settings and, if given, the AOI files are copied in."""
        for folder in (self.dagster, self.storage, self.aois):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "dagster.yaml", self.dagster / "dagster.yaml")
        for file in sorted(aois.glob("*.geojson")) if aois else []:
            shutil.copyfile(file, self.aois / file.name)


def write_wind(storage: Path) -> None:
    """The sandbox's wind as a table, where the methane pipelines look for it, if none is there."""
    from geostack_dagster.sandbox.winds import wind_table

    table = storage / "wind.csv"
    if not table.exists():
        table.write_text(wind_table(), encoding="utf-8")


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables of this process while the block runs."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
