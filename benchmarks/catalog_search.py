"""2,500 Items in 50 pages from a catalogue that takes 200 ms to answer, beside both clients alone.

The catalogue is a small STAC API on loopback in a process of its own. Every search reads the
landing page anew, as a fresh process would; ours uses 16 requests at once. The floor is one request
after the landing page: nothing answers sooner. Wanted: at most 1.3 s.
"""

import json
import multiprocessing as mp
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any

import requests
import rustac
from _report import arguments, measure, report
from pystac_client import Client

from geostack_dagster.catalog.clients import forget_connections
from geostack_dagster.catalog.search import search
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.query import ItemQuery
from geostack_dagster.providers import EARTH_SEARCH, Limits

_COUNT, _PAGE, _LATENCY_S = 2_500, 50, 0.2
_START, _END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
_SPAN = "2024-01-01T00:00:00Z/2024-12-31T23:59:59Z"


def main() -> None:
    quick = arguments().quick
    parent, child = mp.Pipe()
    server = mp.get_context("spawn").Process(
        target=_serve, args=(child, 500 if quick else _COUNT), daemon=True
    )
    server.start()
    url = f"http://127.0.0.1:{parent.recv()}"
    try:
        _compare(url, 500 if quick else _COUNT, repeats=1 if quick else 3)
    finally:
        server.terminate()
        server.join()


def _compare(url: str, count: int, *, repeats: int) -> None:
    provider = replace(
        EARTH_SEARCH,
        stac_url=url,
        limits=Limits(page_limit=_PAGE, concurrent_searches=16),
    )
    query = ItemQuery(
        collections=("sentinel-2-l2a",),
        aoi=AOI.from_bbox("here", (10.0, 45.0, 11.0, 46.0)),
        start=_START,
        end=_END,
    )

    def ours(client: str) -> None:
        forget_connections()
        _same(len(search(provider, query, client=client).items), count)

    def pystac() -> None:
        found = Client.open(url).search(collections=["sentinel-2-l2a"], datetime=_SPAN, limit=_PAGE)
        _same(sum(1 for _ in found.items_as_dicts()), count)

    def alone() -> None:
        found = rustac.search_sync(url, collections=["sentinel-2-l2a"], datetime=_SPAN, limit=_PAGE)
        _same(len(found), count)

    def floor() -> None:
        requests.get(url, timeout=10).json()
        body = {"collections": ["sentinel-2-l2a"], "datetime": _SPAN, "limit": _PAGE}
        requests.post(f"{url}/search", json=body, timeout=10).json()

    peers = {"pystac-client": pystac, "rustac": alone}
    name = f"{count:,} items in {count // _PAGE} pages, {_LATENCY_S * 1000:g} ms"
    report(
        name,
        [
            measure(
                f"through {client}",
                lambda client=client: ours(client),
                peers=peers,
                floor=floor,
                repeats=repeats,
            )
            for client in ("pystac-client", "rustac")
        ],
    )


def _same(found: int, wanted: int) -> None:
    if found != wanted:
        raise SystemExit(f"{found} items came, not {wanted}")


def _serve(ready: Connection, count: int) -> None:
    step = (_END - _START) / count
    items = [_item(number, _START + number * step) for number in range(count)]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            self._answer(_landing(f"http://{self.headers['Host']}"))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(_page(items, body, f"http://{self.headers['Host']}/search"))

        def _answer(self, document: dict[str, Any]) -> None:
            time.sleep(_LATENCY_S)
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/geo+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(server.server_address[1])
    server.serve_forever()


def _landing(url: str) -> dict[str, Any]:
    search_link = {"rel": "search", "type": "application/geo+json", "method": "POST"}
    return {
        "type": "Catalog",
        "id": "benchmark",
        "stac_version": "1.0.0",
        "description": "benchmark",
        "conformsTo": [
            "https://api.stacspec.org/v1.0.0/core",
            "https://api.stacspec.org/v1.0.0/item-search",
        ],
        "links": [{**search_link, "href": f"{url}/search"}],
    }


def _page(items: list[dict[str, Any]], body: dict[str, Any], href: str) -> dict[str, Any]:
    start, end = map(datetime.fromisoformat, body["datetime"].split("/"))
    found = [item for item in items if start <= item["moment"] <= end]
    offset, limit = body.get("token", 0), body["limit"]
    following = {**body, "token": offset + limit}
    more = offset + limit < len(found)
    return {
        "type": "FeatureCollection",
        "features": [item["document"] for item in found[offset : offset + limit]],
        "numberMatched": len(found),
        "links": [{"rel": "next", "method": "POST", "href": href, "body": following}]
        if more
        else [],
    }


def _item(number: int, moment: datetime) -> dict[str, Any]:
    ring = [[10.0, 45.0], [11.0, 45.0], [11.0, 46.0], [10.0, 46.0], [10.0, 45.0]]
    moment = moment.replace(microsecond=0) + timedelta(milliseconds=24)
    document = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"S2A_MSIL2A_{number:06}",
        "collection": "sentinel-2-l2a",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [10.0, 45.0, 11.0, 46.0],
        "properties": {"datetime": moment.isoformat(), "eo:cloud_cover": number % 100},
        "assets": {
            key: {"href": f"https://a.example/{number}/{key}.tif", "roles": ["data"]}
            for key in ("B02", "B03", "B04", "B08")
        },
        "links": [],
    }
    return {"moment": moment, "document": document}


if __name__ == "__main__":
    main()
