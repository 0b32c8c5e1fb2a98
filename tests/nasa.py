"""NASA's hosts for tests: CMR, Earthdata Login, and LP DAAC's files behind a redirect."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.real_hosts import Answer, RealHosts, Request, real_hosts

CMR, URS = "cmr.earthdata.nasa.gov", "urs.earthdata.nasa.gov"
DATA, STORE = "data.lpdaac.earthdatacloud.nasa.gov", "d1nklfio7vscoe.cloudfront.net"
TOKEN = "good-token-that-must-not-be-written"
LOGIN_PAGE = b'<html><form>Earthdata Login <input type="password"></form></html>'


@dataclass
class Nasa:
    """What the hosts hold; the file of a granule needs a token and lies somewhere else."""

    files: dict[str, bytes] = field(default_factory=dict)
    """By path at the data host."""
    granules: list[dict[str, Any]] = field(default_factory=list)
    good: set[str] = field(default_factory=lambda: {TOKEN})
    fault: Callable[[Request], Answer | None] = lambda asked: None
    hosts: RealHosts | None = None

    def __call__(self, asked: Request) -> Answer:
        broken = self.fault(asked)
        if broken is not None:
            return broken
        serve = {CMR: self.searched, URS: self.login, DATA: self.guarded, STORE: self.stored}
        return serve[asked.host](asked)

    def login(self, asked: Request) -> Answer:
        return Answer(200, LOGIN_PAGE, {"Content-Type": "text/html"})

    def guarded(self, asked: Request) -> Answer:
        path = urlsplit(asked.path).path
        if asked.headers.get("authorization", "").removeprefix("Bearer ") not in self.good:
            return Answer(302, b"", {"Location": f"https://{URS}/oauth/authorize?client_id=x"})
        if path not in self.files:
            return Answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        return Answer(303, b"", {"Location": f"https://{STORE}{path}?A-userid=me&Signature=s"})

    def stored(self, asked: Request) -> Answer:
        if "authorization" in asked.headers:  # two ways to sign at once
            return Answer(400, b"<Error><Code>InvalidArgument</Code></Error>")
        return part_of(self.files[urlsplit(asked.path).path], asked)

    def searched(self, asked: Request) -> Answer:
        query = parse_qs(urlsplit(asked.path).query)
        start, end = query["temporal[]"][0].split(",")
        found = [one for one in self.granules if start <= _begins(one) <= end]
        offset = int(asked.headers.get("cmr-search-after", 0))
        page = found[offset : offset + int(query["page_size"][0])]
        headers = {"CMR-Hits": str(len(found)), "Content-Type": "application/json"}
        if page:
            headers["CMR-Search-After"] = str(offset + len(page))
        body = {"hits": len(found), "took": 1, "items": page}
        return Answer(200, json.dumps(body).encode(), headers)

    def forget(self) -> None:
        """Hold nothing, be whole, and remember no request."""
        assert self.hosts is not None
        self.files, self.granules, self.good = {}, [], {TOKEN}
        self.fault = lambda asked: None
        self.hosts.asked.clear()

    def asked(self, host: str) -> list[Request]:
        assert self.hosts is not None
        return [one for one in self.hosts.asked if one.host == host]


def part_of(content: bytes, asked: Request) -> Answer:
    """The range asked for, or all of it."""
    total = len(content)
    headers = {"Accept-Ranges": "bytes", "ETag": f'"{hash(content):x}"'}
    ranged = re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("range", ""))
    if ranged is None:
        return Answer(200, content, headers)
    first, last = int(ranged[1]), min(int(ranged[2]), total - 1)
    headers["Content-Range"] = f"bytes {first}-{last}/{total}"
    return Answer(206, content[first : last + 1], headers)


def granule_of(item: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """UMM-G of an Item, as CMR would list it."""
    begins = item["properties"]["datetime"].replace("+00:00", ".000Z")
    urls = []
    for asset in item["assets"].values():
        bucket = asset["href"].partition(f"{DATA}/")[2]
        urls += [
            {"URL": asset["href"], "Type": "GET DATA"},
            {"URL": f"s3://{bucket}", "Type": "GET DATA VIA DIRECT ACCESS"},
        ]
    points = [
        {"Longitude": lon, "Latitude": lat} for lon, lat in item["geometry"]["coordinates"][0]
    ]
    umm = {
        "GranuleUR": item["id"],
        "TemporalExtent": {
            "RangeDateTime": {"BeginningDateTime": begins, "EndingDateTime": begins}
        },
        "SpatialExtent": {
            "HorizontalSpatialDomain": {
                "Geometry": {"GPolygons": [{"Boundary": {"Points": points}}]}
            }
        },
        "CollectionReference": {"ShortName": "EMITL1BRAD", "Version": "001"},
        "CloudCover": 7,
        "AdditionalAttributes": [{"Name": "SOLAR_ZENITH", "Values": ["29.00"]}],
        "DataGranule": {
            "ProductionDateTime": "2024-08-01T00:00:00.000Z",
            "ArchiveAndDistributionInformation": [
                {"Name": name, "SizeInBytes": asset["file:size"]}
                for name, asset in item["assets"].items()
            ],
        },
        "RelatedUrls": urls,
    }
    meta = {
        "concept-id": "G1-LPCLOUD",
        "collection-concept-id": "C2408009906-LPCLOUD",
        "revision-id": 1,
        "revision-date": "2024-08-02T00:00:00.000Z",
    }
    return {"meta": meta, "umm": {**umm, **changes}}


@contextmanager
def serving(folder: Path) -> Iterator[Nasa]:
    nasa = Nasa()
    with real_hosts(folder, (CMR, URS, DATA, STORE), nasa) as hosts:
        nasa.hosts = hosts
        yield nasa


def _begins(granule: dict[str, Any]) -> str:
    text: str = granule["umm"]["TemporalExtent"]["RangeDateTime"]["BeginningDateTime"]
    return text[:19] + "Z"
