"""One Item of a collection, and the first bytes of one file."""

from datetime import timedelta

from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.signer import AuthScheme, Signer
from geostack_dagster.cli.doctor import web
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.days import Window, solar_day
from geostack_dagster.domain.grid import Grid, choose_crs
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.domain.item import Item, assets, moment
from geostack_dagster.errors import IntegrityError, ServiceError
from geostack_dagster.providers import Provider, SearchApi
from geostack_dagster.providers.access import signer_for

_SPECK_DEG = 0.002
_ALWAYS = "2015-01-01T00:00:00Z/2100-01-01T00:00:00Z"
_ENOUGH = 10
"""Items looked at for one whose files are there: an archive lists a scene before its pixels."""


def sample_item(provider: Provider, collection: str, settings: Settings) -> Item | None:
    """An Item of the collection with assets; None if the search finds none.

    Raises:
        CredentialError: If the catalogue wants a credential.
        ServiceError: If the catalogue does not answer with Items.
    """
    found = _granules if provider.search_api is SearchApi.CMR else _items
    return next(iter(filter(assets, found(provider, collection, settings))), None)


def _items(provider: Provider, collection: str, settings: Settings) -> list[Item]:
    url = f"{provider.stac_url.rstrip('/')}/search"
    headers = {}
    if provider.search_scheme is not AuthScheme.ANONYMOUS:
        headers = dict(signer_for(provider, settings).sign(Href(url)).headers)
    # Sentinel Hub refuses a search without a time.
    asked = {"collections": [collection], "limit": _ENOUGH, "datetime": _ALWAYS}
    return _features(url, web.page(url, headers=headers, body=asked))


def _features(url: str, page: web.Page) -> list[Item]:
    if page.status != 200 or not isinstance(page.document, dict):
        raise ServiceError(f"{url} answered {page.status} to a search", status=page.status)
    return [one for one in page.document.get("features") or [] if isinstance(one, dict)]


def _granules(provider: Provider, collection: str, settings: Settings) -> list[Item]:
    from geostack_dagster.catalog.umm import item_of

    concept = next(iter(provider.collection(collection).aliases))
    root = provider.stac_url.rstrip("/")
    url = f"{root}/granules.umm_json?collection_concept_id={concept}&page_size={_ENOUGH}"
    page = web.page(url)
    if page.status != 200 or not isinstance(page.document, dict):
        raise ServiceError(f"{url} answered {page.status} to a search", status=page.status)
    return [
        item_of(granule, provider, asked=[collection], root=root)
        for granule in page.document.get("items") or []
    ]


def first_bytes(href: Href, signer: Signer, nbytes: int) -> bytes:
    """The head of a file, read as every read is.

    Raises:
        AssetError, CredentialError, ServiceError: As `ByteSource.opening`.
    """
    from geostack_dagster.stack.reader import loop
    from geostack_dagster.stack.reader.source import ByteSource

    source = ByteSource(signer)
    try:
        return bytes(loop.wait(source.opening(href, nbytes)).data)
    finally:
        loop.wait(source.close())


def rendered(provider: Provider, item: Item, settings: Settings) -> int:
    """Bytes that a rendering service sends for a speck of the Item's ground.

    Raises:
        IntegrityError: If it has no such scene.
        CredentialError, ServiceError: If it does not answer with one.
    """
    from geostack_dagster.stack.ask import StackAsk, make_recipe
    from geostack_dagster.stack.process_api.proof import sight

    west, south, east, north = item["bbox"]
    middle = ((west + east) / 2, (south + north) / 2)
    speck = AOI.from_bbox("speck", (*middle, middle[0] + _SPECK_DEG, middle[1] + _SPECK_DEG))
    collection = next(iter(provider.collections))
    day = solar_day(moment(item), middle[0])
    ask = StackAsk(
        collections=(collection,),
        bands=(provider.collections[collection].bands.bands[0].name,),
        grid=Grid.covering(speck, crs=choose_crs(speck), resolution=60.0),
        window=Window(day, day + timedelta(days=1)),
    )
    found = sight(make_recipe(provider, [item], ask=ask), signer_for(provider, settings))
    if found.missing:
        raise IntegrityError(f"the service does not know the scene {found.missing[0]}")
    return found.bytes_read
