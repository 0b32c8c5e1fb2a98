"""A product small enough to read in full."""

import numpy as np
import pytest

from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.grid import Grid
from geostack_dagster.domain.partition import Partition
from geostack_dagster.publish.cog import BandText
from geostack_dagster.publish.map_page import Masks
from geostack_dagster.publish.product import Product
from geostack_dagster.publish.stac_item import Origin


@pytest.fixture
def grid() -> Grid:
    return Grid(crs="EPSG:32632", resolution=20.0, left=500_000.0, top=5e6, width=90, height=60)


@pytest.fixture
def maps(grid: Grid) -> dict[str, np.ndarray]:
    """Every pixel unique; a cloud and a strip outside the swath are NaN."""
    ramp = np.linspace(-0.3, 1.05, grid.width * grid.height, dtype=np.float32).reshape(grid.shape)
    ramp[10:20, 30:40] = np.nan
    ramp[:, :5] = np.nan
    return {"NDVI": ramp, "NDWI": -ramp / 2}


def source_item(name: str, moment: str, href: str | None) -> dict[str, object]:
    links = [{"rel": "self", "href": href}] if href else []
    return {"id": name, "properties": {"datetime": moment}, "links": links, "assets": {}}


@pytest.fixture
def origin() -> Origin:
    return Origin(
        partition=Partition("es_indices", "po-valley", "2024-06-03"),
        aoi=AOI.from_bbox("po-valley", (9.0, 45.1, 9.02, 45.15)),
        product="indices",
        fingerprint="0123456789abcdef0123",
        sources=(
            source_item("S2B_32TNR_1", "2024-06-03T10:20:41Z", "https://stac.example/b"),
            source_item("S2B_32TNR_0", "2024-06-03T10:20:30Z", "https://stac.example/a"),
            source_item("S2B_without_link", "2024-06-03T10:20:55.5Z", None),
        ),
        lineage="Spectral indices of clear pixels.",
    )


@pytest.fixture
def product(origin: Origin, grid: Grid, maps: dict[str, np.ndarray]) -> Product:
    observed = np.ones(grid.shape, bool)
    observed[:, :5] = False
    return Product(
        origin=origin,
        grid=grid,
        bands=maps,
        texts={"NDVI": BandText(long_name="normalised difference vegetation index")},
        masks=Masks(clear=np.isfinite(maps["NDVI"]), observed=observed),
    )
