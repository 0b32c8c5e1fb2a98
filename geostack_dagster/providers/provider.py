"""What a provider is: a frozen record, not a subclass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from fnmatch import fnmatchcase

from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.domain.bands import Band, BandTable
from geostack_dagster.domain.hrefs import Href, locate
from geostack_dagster.domain.identity import IdentityRule, by_id
from geostack_dagster.domain.radiometry import RadiometryRule, stated
from geostack_dagster.domain.swath import Geometry, InstrumentNoise, SwathLayout
from geostack_dagster.errors import ConfigurationError


class FilterDialect(StrEnum):
    """How a catalogue takes predicates on properties; all are re-checked on the client anyway."""

    QUERY = "query"
    CQL2_JSON = "cql2-json"
    CQL2_TEXT = "cql2-text"
    CMR = "cmr"
    """Parameters of NASA's CMR: a range of cloud cover, and nothing else that is a property."""
    NONE = "none"


class SearchApi(StrEnum):
    """What kind of catalogue answers a search."""

    STAC = "stac"
    CMR = "cmr"


class PixelSource(StrEnum):
    """Where pixels come from."""

    FILES = "files"
    PROCESS_API = "process-api"
    """A service renders the bands asked for on the grid asked for; items name no files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Defaults read from the provider's pages or threads; every one can be overridden."""

    page_limit: int = 100
    """Items asked for in one page."""
    largest_page: int = 10_000
    """Items in the largest page that the catalogue gives, or does not refuse."""
    polygon_positions: int = 10_000
    """Positions of the longest polygon that the catalogue takes; beyond, boxes are asked for."""
    concurrent_searches: int = 8
    concurrent_reads: int = 32
    rendered_px: int = 2500
    """Rows and columns of an image at most, where a service renders pixels."""
    retry_after_unit_s: float = 1.0
    """What a number in Retry-After counts [s]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearClasses:
    """A classification band and the classes that count as clear (usable) ground."""

    band: str
    keep: tuple[int, ...]
    buffer_around: tuple[int, ...] = ()
    """Classes whose surroundings are dropped as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """A collection of a provider and how its pixels are to be understood."""

    id: str
    title: str
    bands: BandTable
    radiometry: RadiometryRule = stated
    identity: IdentityRule = by_id
    clear: ClearClasses | None = None
    dark: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Where an offset shows: by common name of a band, the classes of `clear` that are dark in it.

    No classes: there are none, and all pixels count. No band: the archive has no offset to check.
    """
    quantity: str = "reflectance"
    """What its pixels measure; the group of the cube that holds them."""
    aliases: tuple[str, ...] = ()
    """Other ids under which Items or catalogues know it, such as CMR concept ids."""
    swath: SwathLayout | None = None
    """Where its files keep what, if they are in sensor geometry."""
    noise: InstrumentNoise | None = None
    """Of the radiance in its files; None where it is not known, or they hold no radiance."""
    plumes: str | None = None
    """Collection of the same archive that lists the plumes which people outlined in its scenes."""
    unstated: tuple[str, ...] = ()
    """Properties that none of its Items states: asked for one, catalogues answer with nothing."""

    @property
    def geometry(self) -> Geometry:
        """How its pixels lie."""
        return Geometry.GRID if self.swath is None else Geometry.SWATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One archive: endpoints, search dialect, access rules, collections and known quirks."""

    slug: str
    title: str
    description: str
    stac_url: str
    filter_dialect: FilterDialect
    collections: Mapping[str, Collection]
    access: tuple[tuple[str, AuthScheme], ...]
    """Glob over `scheme://host/key` and the scheme that opens it; the first match counts."""
    marks: tuple[str, ...] = ()
    """Globs over URLs that only this archive uses; an Item's links and hrefs tell its origin."""
    region: str = "us-west-2"
    """AWS region of its `s3://` buckets, but for those in `bucket_regions`."""
    bucket_regions: Mapping[str, str] = field(default_factory=dict)
    search_api: SearchApi = SearchApi.STAC
    search_scheme: AuthScheme = AuthScheme.ANONYMOUS
    """How the catalogue itself is asked."""
    pixels: PixelSource = PixelSource.FILES
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Other addresses by purpose: `token`, `login`, `s3`, `s3credentials`, `process`."""
    limits: Limits = field(default_factory=Limits)
    has_matched: bool = True
    """Whether a search states how many Items match."""
    filterable: Mapping[str, tuple[str, ...]] | None = None
    """Operators by property that its catalogue heeds; None for all. Others are checked here."""
    numbers_are_text: bool = False
    """Whether Items write numbers as text: how a catalogue compares them is anyone's guess."""
    next_is_merged: bool = False
    """Whether a next link says only what changes in the question, not the whole of it."""
    quirks: tuple[str, ...] = ()

    def collection(self, name: str) -> Collection:
        """The collection record.

        Raises:
            ConfigurationError: If the provider record has no such collection.
        """
        found = self.find_collection(name)
        if found is None:
            near = get_close_matches(name, self.collections, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigurationError(
                f"{self.slug} has no collection {name!r}; {hint}Known: "
                f"{', '.join(self.collections)}"
            )
        return found

    def find_collection(self, name: str) -> Collection | None:
        """The collection record by id or alias; None if there is none."""
        for known in self.collections.values():
            if name == known.id or name in known.aliases:
                return known
        return None

    def scheme(self, href: Href) -> AuthScheme | None:
        """The scheme that opens `href`; None for a host this provider does not keep assets on."""
        name = _plain(href)
        for pattern, scheme in self.access:
            if fnmatchcase(name, pattern):
                return scheme
        return None

    def owns(self, url: str) -> bool:
        """Whether only this provider uses such a URL."""
        return any(fnmatchcase(_plain(url), mark) for mark in self.marks)

    def region_of(self, bucket: str) -> str:
        """AWS region of a bucket."""
        return self.bucket_regions.get(bucket, self.region)

    def band(self, collection: str, name: str) -> Band:
        """One band of a collection, by our name, its common name or asset key."""
        table = self.collection(collection).bands
        return table.select([name], where=f"{self.slug}/{collection}")[0]


def _plain(url: str) -> str:
    location = locate(url)
    return f"{location.scheme}://{location.host}/{location.key}"
