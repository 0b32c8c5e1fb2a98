"""A STAC API that others wrote: stac-fastapi on pgstac, with items of the tests' own."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.services.postgres import Postgres
from tests.services.servers import TOOLS, Launch, free_port, require, running

COLLECTIONS = ("sentinel-2-l2a", "landsat-c2-l2")
START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS, A_DAY = 120, 5
_DATABASE = "pgstac"
_CORNERS = [(7, 46), (8, 46), (9, 46), (7, 47), (8, 47), (9, 47), (179, -17), (-180, -17)]


def scenes() -> list[dict[str, Any]]:
    """Items of a few tiles, two of them on either side of the antimeridian."""
    return [_scene(number, name) for number in range(DAYS * A_DAY) for name in COLLECTIONS]


def _scene(number: int, collection: str) -> dict[str, Any]:
    west, south = _CORNERS[number % len(_CORNERS)]
    east, north = west + 1, south + 1
    # Fractions of a second, and one a day at midnight.
    moment = START + timedelta(days=number // A_DAY)
    moment += number % A_DAY * timedelta(hours=4, milliseconds=number)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"{collection[0]}-{number:04d}",
        "collection": collection,
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "datetime": moment.isoformat().replace("+00:00", "Z"),
            "eo:cloud_cover": number * 37 % 1000 / 10,
            "platform": f"s{number % 3}",
            "view:sun_elevation": number * 13 % 700 / 10 - 5,
        },
        "assets": {"B04": {"href": f"https://archive.example/{number}.tif", "type": "image/tiff"}},
        "links": [],
    }


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A running STAC API over the scenes."""

    url: str
    postgres: Postgres

    def state_matched(self, *, state: bool) -> None:
        """Whether answers say how many items match; by default they do not."""
        value = "on" if state else "off"
        self.postgres.run(
            _DATABASE,
            f"insert into pgstac.pgstac_settings values ('context', '{value}') "
            f"on conflict (name) do update set value = '{value}'",
        )


@contextmanager
def serving_scenes(postgres: Postgres, logs: Path) -> Iterator[Catalogue]:
    """The API over a database of its own, for the length of the block."""
    programs = TOOLS / "services/bin"
    address = postgres.database(_DATABASE)
    _pypgstac("migrate", address)
    _load("collections", [_collection(name) for name in COLLECTIONS], address, logs)
    _load("items", scenes(), address, logs)
    port = free_port()
    launch = Launch(
        command=[
            *(programs / "uvicorn", "--factory", "stac_fastapi.pgstac.app:create_app"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        port=port,
        log=logs / "stac.log",
        environment={**postgres.environment, "PGDATABASE": _DATABASE},
    )
    with running(launch):
        yield Catalogue(f"http://127.0.0.1:{port}", postgres)


def _load(kind: str, documents: list[dict[str, Any]], address: str, folder: Path) -> None:
    file = folder / f"{kind}.ndjson"
    file.write_text("\n".join(map(json.dumps, documents)))
    _pypgstac("load", address, kind, file, "--method", "insert")


def _pypgstac(command: str, address: str, *arguments: object) -> None:
    program = require("moto-and-pgstac", TOOLS / "services/bin/pypgstac")
    words = [str(part) for part in (program, command, *arguments, "--dsn", address)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"pypgstac {command} failed: {done.stderr[-2000:]}")


def _collection(name: str) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "description": name,
        "license": "other",
        "links": [],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [[None, None]]},
        },
    }
