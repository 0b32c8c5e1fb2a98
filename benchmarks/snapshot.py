"""50,000 Sentinel-2-like Items to stac-geoparquet and back, beside stac_geoparquet and rustac.

Every variant runs in a process of its own, from the same dictionaries in memory to the same file on
disk and back to dictionaries; variants take turns. The floor is orjson turning the dictionaries
into JSON lines and back: nothing that ends in dictionaries is faster.
"""

import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from _report import Case, arguments, report

_BANDS = {
    "B02": ("blue", 10),
    "B03": ("green", 10),
    "B04": ("red", 10),
    "B05": ("rededge", 20),
    "B08": ("nir", 10),
    "B8A": ("nir08", 20),
    "B11": ("swir16", 20),
    "B12": ("swir22", 20),
    "SCL": (None, 20),
}
_VARIANTS = ("ours", "stac_geoparquet", "rustac", "floor")
_START = datetime(2020, 1, 1, tzinfo=UTC)
type Item = dict[str, Any]


def main() -> None:
    count, repeats = (5_000, 1) if arguments().quick else (50_000, 3)
    runs: dict[str, list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "items.ndjson"
        with source.open("wb") as file:
            file.writelines(orjson.dumps(sentinel2_like(n)) + b"\n" for n in range(count))
        for _ in range(repeats):
            for variant in _VARIANTS:
                runs[variant].append(_measured(variant, source))
    medians = {
        variant: {name: statistics.median(run[name] for run in measured) for name in measured[0]}
        for variant, measured in runs.items()
    }
    for variant in medians.values():
        variant["write and read"] = variant["write"] + variant["read"]
    peaks = ", ".join(f"{name} {medians[name]['peak_gb']:.2f}" for name in _VARIANTS[:3])
    report(
        f"{count:,} items, stac-geoparquet (peak memory [GB]: {peaks})",
        [
            Case(
                case=step,
                ours=medians["ours"][step],
                peers={name: medians[name][step] for name in _VARIANTS[1:3]},
                floor=medians["floor"][step],
            )
            for step in ("write", "read", "write and read")
        ],
    )


def sentinel2_like(number: int) -> Item:
    """One Item as Planetary Computer writes them, with fewer assets (5 KB of JSON)."""
    dice = random.Random(number)
    tile = f"{1 + number % 60:02}{'CDEFGHJKLMNPQRSTUVWX'[number // 60 % 20]}KG"
    when = _START + timedelta(minutes=21 * number, milliseconds=dice.randrange(1000))
    sensed = f"{when:%Y%m%dT%H%M%S}"
    name = f"S2A_MSIL2A_{sensed}_R{number % 143:03}_T{tile}_{sensed}"
    folder = (
        "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/"
        f"{tile[:2]}/{tile[2]}/{tile[3:]}/{when:%Y/%m/%d}/{name}.SAFE"
    )
    west, south = dice.uniform(-170, 168), dice.uniform(-70, 70)
    east, north = west + 1.4, south + 1.0
    ring = [[west, south], [east, south], [east - 0.1, north], [west, north], [west, south]]
    stamp = f"{when:%Y-%m-%dT%H:%M:%S.%f}Z"
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
        ],
        "id": name,
        "collection": "sentinel-2-l2a",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "properties": {
            "datetime": stamp,
            "created": stamp,
            "platform": "sentinel-2a",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "eo:cloud_cover": round(dice.uniform(0, 100), 4),
            "proj:epsg": 32601 + number % 60,
            "s2:mgrs_tile": tile,
            "s2:processing_baseline": "05.10",
            "s2:generation_time": stamp,
            "s2:product_uri": f"{name}.SAFE",
            "s2:datatake_id": f"GS2A_{sensed}_{number:06}_N05.10",
            "sat:relative_orbit": number % 143,
            "sat:orbit_state": "descending",
            "view:sun_azimuth": dice.uniform(0, 360),
            "view:sun_elevation": dice.uniform(0, 90),
            "s2:vegetation_percentage": dice.uniform(0, 100),
            "s2:water_percentage": dice.uniform(0, 100),
        },
        "assets": {key: _asset(folder, key, dice) for key in _BANDS},
        "links": [
            {"rel": rel, "type": "application/json", "href": f"https://pc.example/api/{rel}/{name}"}
            for rel in ("self", "collection")
        ],
    }


def _asset(folder: str, key: str, dice: random.Random) -> Item:
    common_name, metres = _BANDS[key]
    pixels = 109_800 // metres
    left, top = 300_000.0 + 10 * dice.randrange(50), 100_000.0 * dice.randrange(80)
    bands = [{"name": key, "common_name": common_name}] if common_name else None
    return {
        "href": f"{folder}/GRANULE/IMG_DATA/R{metres}m/{key}_{metres}m.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "title": f"Band {key} - {metres}m",
        "roles": ["data"],
        "gsd": metres,
        "proj:shape": [pixels, pixels],
        "proj:transform": [float(metres), 0.0, left, 0.0, -float(metres), top],
        **({"eo:bands": bands} if bands else {}),
    }


def _measured(variant: str, source: Path) -> dict[str, float]:
    script = "import sys, snapshot; snapshot.run(sys.argv[1], sys.argv[2])"
    done = subprocess.run(
        [sys.executable, "-c", script, variant, str(source)],
        cwd=Path(__file__).parent,
        capture_output=True,
        check=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def run(variant: str, source: str) -> None:
    """One variant in this process; prints seconds and peak memory as JSON."""
    write, read = _codec(variant)
    target = f"{source}.{variant}.parquet"
    sample = [sentinel2_like(number) for number in range(20)]
    write(sample, target)  # imports are not what is compared
    sum(1 for _ in read(target))
    with Path(source).open("rb") as file:
        items = [orjson.loads(line) for line in file]
    count = len(items)
    start = time.perf_counter()
    write(items, target)
    middle = time.perf_counter()
    del items
    between = time.perf_counter()
    if sum(1 for _ in read(target)) != count:
        raise SystemExit(f"{variant} lost items")
    end = time.perf_counter()
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(json.dumps({"write": middle - start, "read": end - between, "peak_gb": peak_gb}))


def _codec(
    variant: str,
) -> tuple[Callable[[list[Item], str], object], Callable[[str], Iterable[Item]]]:
    if variant == "ours":
        from geostack_dagster.catalog.parquet import iter_items, write_items

        return lambda items, path: write_items(items, path, facts={}), iter_items
    if variant == "stac_geoparquet":
        import pyarrow.parquet as pq
        from stac_geoparquet import arrow

        return (
            lambda items, path: arrow.parse_stac_items_to_parquet(items, output_path=path),
            lambda path: arrow.stac_table_to_items(pq.read_table(path)),
        )
    if variant == "rustac":
        import rustac

        return (
            lambda items, path: rustac.write_sync(path, items),
            lambda path: rustac.read_sync(path)["features"],
        )
    return _write_lines, _read_lines


def _write_lines(items: list[Item], path: str) -> None:
    with Path(path).open("wb") as file:
        file.writelines(orjson.dumps(item) + b"\n" for item in items)


def _read_lines(path: str) -> Iterable[Item]:
    with Path(path).open("rb") as file:
        yield from map(orjson.loads, file)


if __name__ == "__main__":
    main()
