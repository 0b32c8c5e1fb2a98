"""Vector features as files: GeoJSON for people and maps, GeoParquet for analysis."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GEOJSON = "application/geo+json"
GEOPARQUET = "application/vnd.apache.parquet"


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing with an outline."""

    geometry: Mapping[str, Any]
    """GeoJSON, longitude and latitude."""
    properties: Mapping[str, Any]
    """Plain values; all features of a file have the same names."""


def geojson(features: Sequence[Feature]) -> bytes:
    """A FeatureCollection (RFC 7946)."""
    return json.dumps(
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "id": number,
                    "geometry": dict(feature.geometry),
                    "properties": dict(feature.properties),
                }
                for number, feature in enumerate(features, start=1)
            ],
        },
        separators=(",", ":"),
        allow_nan=False,
    ).encode()


def geoparquet(features: Sequence[Feature], columns: Mapping[str, str]) -> bytes:
    """GeoParquet 1.1 in OGC:CRS84.

    Args:
        features: Rows.
        columns: Pandas dtype of every property, so that a file without rows has its schema too.
    """
    import geopandas
    import pandas as pd
    from shapely.geometry import shape

    rows = pd.DataFrame([dict(feature.properties) for feature in features], columns=list(columns))
    frame = geopandas.GeoDataFrame(
        rows.astype(dict(columns)),
        geometry=[shape(dict(feature.geometry)) for feature in features],
        crs="OGC:CRS84",
    )
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
