"""Reads that outlive their tokens many times over: right bytes, and one token for each lifetime.

`python benchmarks/token_expiry.py --minutes 10 [SCHEME...]` reads chunks of one file for ten
minutes from an archive whose tokens live five seconds and whose every answer takes half a second,
for each scheme: SAS (Planetary Computer), STS (S3 keys of LP DAAC), OAuth2 (downloads of the
Copernicus Data Space), bearer (Earthdata, through a redirect to another host). Bytes are compared
with those of the file in this process; token requests are counted where tokens are made.

The exit code is 1 if a byte is wrong, or tokens were asked for more often than they died: none is
granted while the one before has more than a twentieth of its life left, by the clock of who grants
it. A request in vain is right if the login that it was made with died on its way, which happens to
a login once; so there are no more of these than of tokens.
"""

import argparse
import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from geostack_dagster.sandbox import Sandbox

LIFETIME_S = 5.0
LATENCY_S = 0.5
IN_FLIGHT = 4
_SPENT = 0.95
CHUNK = 32 << 10
PLACES = 32  # chunks that are read in turn, over and over
_COPY = "odata/v1/Products(1)/Nodes(long.SAFE)/Nodes(B04.tif)/$value"
_DOWNLOAD = f"https://download.dataspace.copernicus.eu/{_COPY}"


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """Where a file lies, how it is opened, and who makes the tokens."""

    provider: str
    data: str
    """Host glob of the bytes."""
    tokens: tuple[str, str]
    """Host and path of the token service."""
    settings: Mapping[str, str]


SCHEMES = {
    "SAS": Scheme(
        provider="planetary_computer",
        data="*.blob.core.windows.net",
        tokens=("planetarycomputer.microsoft.com", "/api/sas/v1/token/"),
        settings={},
    ),
    "STS": Scheme(
        provider="earthaccess",
        data="*.amazonaws.com",
        tokens=("data.lpdaac.earthdatacloud.nasa.gov", "/s3credentials"),
        settings={"GEOSTACK_AWS_REGION": "us-west-2"},
    ),
    "OAuth2": Scheme(
        provider="cdse",
        data="download.dataspace.copernicus.eu",
        tokens=("identity.dataspace.copernicus.eu", "/auth/realms/CDSE/"),
        settings={},
    ),
    "bearer": Scheme(
        provider="earthaccess",
        data="data.lpdaac.earthdatacloud.nasa.gov",
        tokens=("urs.earthdata.nasa.gov", "/api/users/find_or_create_token"),
        settings={},
    ),
}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one long read did."""

    scheme: str
    transport: str
    seconds: float
    lifetimes: int
    """Whole ones of tokens that were spent."""
    chunks: int
    wrong: int
    """Chunks whose bytes were not those of the file."""
    tokens: int
    """Those that were granted."""
    early: int
    """Those granted while the one before had more than a twentieth of its life left."""
    vain: int
    """Requests for tokens that were refused."""
    refused: int
    """Requests for bytes that came with a dead token and were made again."""

    @property
    def is_right(self) -> bool:
        return not self.wrong and not self.early and self.vain <= self.tokens


class World:
    """The files as they are, in this process, and their addresses."""

    def __init__(self) -> None:
        from geostack_dagster.sandbox.twins import Twins

        self._twins = Twins(token_lifetime_s=1, tile_cache_bytes=256 << 20)
        archives = self._twins.setting.archives
        scene = archives["planetary_computer"].catalogue.records("sentinel-2-l2a")[0].item
        self.copy: dict[str, Any] = {
            **scene,
            "assets": {"B04": {**scene["assets"]["B04"], "href": _DOWNLOAD}},
        }
        archives["cdse"].publish([self.copy])
        granule = archives["earthaccess"].catalogue.records("EMITL1BRAD_001")[0].item
        observation = next(asset for name, asset in granule["assets"].items() if "_OBS_" in name)
        self.hrefs = {
            "SAS": scene["assets"]["B04"]["href"],
            "OAuth2": _DOWNLOAD,
            "STS": observation["href"],
            "bearer": observation["href"],
        }

    async def chunk(self, href: str, start: int) -> bytes:
        """Bytes of a file, as the store has them."""
        from geostack_dagster.sandbox.places import place_of

        place = place_of({"href": href})
        assert place is not None
        stored = self._twins.setting.vault.find(place.store, place.container, place.key)
        assert stored is not None
        return b"".join([bytes(piece) async for piece in stored.read(start, start + CHUNK)])


def long_read(
    world: World, sandbox: Sandbox, scheme: str, *, seconds: float, transport: str
) -> Figures:
    """Read chunks for so long, with tokens that die all the while."""
    from geostack_dagster.auth.broker import BROKER
    from geostack_dagster.stack.reader.loop import wait

    how, href = SCHEMES[scheme], world.hrefs[scheme]
    truth = asyncio.run(_truth(world, href))
    BROKER.clear()
    sandbox.control.clear_faults()
    sandbox.control.fault(host=how.data, latency_s=LATENCY_S)
    sandbox.control.clear_log()
    started = time.perf_counter()
    wrong = wait(_read(scheme, href, truth, chunks=_count(seconds), transport=transport))
    elapsed = time.perf_counter() - started
    log = sandbox.control.log()
    host, path = how.tokens
    asked = [one for one in log if one["host"] == host and one["path"].startswith(path)]
    granted = sorted(one["at"] for one in asked if one["status"] == 200)
    return Figures(
        scheme=scheme,
        transport=transport,
        seconds=round(elapsed, 1),
        lifetimes=int(elapsed // LIFETIME_S),
        chunks=_count(seconds),
        wrong=wrong,
        tokens=len(granted),
        early=sum(later - one < _SPENT * LIFETIME_S for one, later in pairwise(granted)),
        vain=len(asked) - len(granted),
        refused=sum(400 <= entry["status"] < 500 for entry in log),
    )


def _count(seconds: float) -> int:
    return math.ceil(seconds / LATENCY_S * IN_FLIGHT)


async def _truth(world: World, href: str) -> list[bytes]:
    return [await world.chunk(href, place * CHUNK) for place in range(PLACES)]


async def _read(scheme: str, href: str, truth: list[bytes], *, chunks: int, transport: Any) -> int:
    """Number of wrong chunks; so many requests on their way at once, as an archive allows."""
    from geostack_dagster.auth.resolution import Settings
    from geostack_dagster.domain.hrefs import canonical
    from geostack_dagster.providers import provider_named
    from geostack_dagster.providers.access import signer_for
    from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy

    how, address = SCHEMES[scheme], canonical(href)
    signer = signer_for(provider_named(how.provider), Settings(arguments=how.settings))
    source = ByteSource(signer, transport=transport, policy=FetchPolicy(in_flight=IN_FLIGHT))
    work = iter(range(chunks))

    async def reader(numbers: Iterator[int]) -> int:
        wrong = 0
        for number in numbers:
            start = number % PLACES * CHUNK
            data = await source.fetch(address, start, start + CHUNK)
            wrong += bytes(data) != truth[number % PLACES]
        return wrong

    try:
        return sum(await asyncio.gather(*(reader(work) for _ in range(IN_FLIGHT))))
    finally:
        await source.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("schemes", nargs="*", metavar="SCHEME", help=", ".join(SCHEMES))
    parser.add_argument("--minutes", type=float, default=1.0, help="of each read")
    parser.add_argument("--transport", choices=("obstore", "fsspec"), default="obstore")
    parser.add_argument("--quick", action="store_true", help="a quarter of a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    given = parser.parse_args()
    seconds = 15.0 if given.quick else 60 * given.minutes
    found = []
    world = World()
    with Sandbox(token_lifetime_s=LIFETIME_S) as sandbox:
        os.environ.update(sandbox.environment)
        sandbox.control.publish("cdse", [world.copy])
        for scheme in given.schemes or SCHEMES:
            figures = long_read(world, sandbox, scheme, seconds=seconds, transport=given.transport)
            found.append(figures)
            print(
                f"{figures.scheme:7} {figures.transport}: {figures.seconds:6.1f} s, "
                f"{figures.chunks} chunks, {figures.wrong} wrong, {figures.tokens} tokens in "
                f"{figures.lifetimes} lifetimes ({figures.early} early, {figures.vain} in vain), "
                f"{figures.refused} refused and read again",
                flush=True,
            )
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n")
    return 0 if all(figures.is_right for figures in found) else 1


if __name__ == "__main__":
    sys.exit(main())
