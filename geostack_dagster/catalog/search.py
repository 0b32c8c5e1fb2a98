"""Searching a provider's catalogue, concurrently and without trusting its answer.

A query is cut into time shards, because neither client pages concurrently: 50 pages at 200 ms take
them 11 s one after the other, and 1 s in shards. All Items come or none: an error anywhere ends the
whole search.
"""

from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from math import ceil
from threading import Event, Lock
from typing import Any

from geostack_dagster.auth.resolution import Settings
from geostack_dagster.auth.signer import AuthScheme
from geostack_dagster.catalog.api import Headers
from geostack_dagster.catalog.ask import MAX_PAGES, Ask, Page, Searcher, heeded
from geostack_dagster.catalog.canonical import make_canonical
from geostack_dagster.catalog.check import Rejected, Sieve
from geostack_dagster.catalog.clients import SEARCHERS
from geostack_dagster.domain.item import item_id, moment, properties
from geostack_dagster.domain.query import ItemQuery
from geostack_dagster.errors import ConfigurationError, ServiceError
from geostack_dagster.providers.access import SearchHeaders
from geostack_dagster.providers.provider import Provider, SearchApi

_SHARD = timedelta(days=14)
_DAY = timedelta(days=1)  # overpasses are a day apart: cutting finer gives empty shards
_FEW_PAGES = 2  # cheaper to page through than to cut again
_STALE_PAGES = 10  # in a row without a new Item: the catalogue goes in a circle


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """What a catalogue has for a query, in order of time, then id."""

    items: list[dict[str, Any]]
    matched: int | None
    """How many the catalogue says match; a statement, not a fact."""
    pages: int
    """Pages that were read."""
    rejected: tuple[Rejected, ...] = ()
    warnings: tuple[str, ...] = ()


def search(
    provider: Provider,
    query: ItemQuery,
    *,
    client: str = "pystac-client",
    url: str | None = None,
    headers: Headers | None = None,
) -> SearchResult:
    """Every Item of the provider that satisfies the query, checked here one by one.

    Args:
        provider: Its record says where to ask, in which dialect, and how many requests at once.
        query: What is asked. `max_items` takes the earliest.
        client: `pystac-client` or `rustac`, for STAC APIs; CMR has earthaccess alone.
        url: Root of the catalogue's API instead of the provider's.
        headers: Gives authorising headers instead of the provider's own `search_scheme`.

    Raises:
        ConfigurationError: If the catalogue has no such collection, or refuses the query, or it
            answers with more pages than anyone means to ask for.
        CredentialError: If the catalogue wants a credential.
        ServiceError: If the catalogue is busy, broken or breaks off; nothing is taken then.
    """
    if client not in SEARCHERS:
        raise ConfigurationError(f"unknown client {client!r}; use one of {', '.join(SEARCHERS)}")
    root = url or provider.stac_url
    if headers is None and provider.search_scheme is not AuthScheme.ANONYMOUS:
        headers = SearchHeaders.of(provider, Settings(), root)
    searcher = _searcher(client, provider, root, headers)
    _check_collections(searcher, provider, query)
    run = _Run(searcher, query)
    answers = _answers(run, provider)
    unique, warnings = _unique(answers)
    sieve = Sieve(query)
    items = sorted(sieve.passing(unique), key=lambda item: (moment(item), item_id(item)))
    for item in items:
        make_canonical(item)
    return SearchResult(
        items=items[: query.max_items],
        matched=None if run.stop.is_set() else _matched(answers),
        pages=run.pages,
        rejected=tuple(sieve.rejected),
        warnings=(*warnings, *sieve.notes, *_ignored(sieve, provider)),
    )


def _searcher(client: str, provider: Provider, url: str, headers: Headers | None) -> Searcher:
    if provider.search_api is SearchApi.CMR:
        from geostack_dagster.catalog.cmr import CmrSearcher  # brings in s3fs and botocore

        return CmrSearcher(provider, url, headers)
    return SEARCHERS[client](provider, url, headers)


@dataclass(slots=True)
class _Answer:
    """What came for one shard."""

    ask: Ask
    items: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    matched: int | None = None
    pages: int = 0
    repeated: int = 0
    split: int = 0
    """Into how many shards it is to be cut instead; 0 when the answer is complete."""

    def take(self, page: Page) -> bool:
        """Add a page; whether it held a new Item. Of two versions the later updated stays."""
        known = len(self.items)
        self.pages += 1
        self.matched = page.matched if self.matched is None else self.matched
        for item in page.items:
            key = (str(item.get("collection")), str(item.get("id")))
            held = self.items.get(key)
            self.repeated += held is not None
            if held is None or _updated(item) > _updated(held):
                self.items[key] = item
        return len(self.items) > known


@dataclass(slots=True)
class _Run:
    """What the shards of one search share."""

    searcher: Searcher
    query: ItemQuery
    stop: Event = field(default_factory=Event)
    pages: int = 0
    lock: Lock = field(default_factory=Lock)

    def answer(self, ask: Ask, pieces: int) -> _Answer:
        """All pages of a shard, or the advice to cut it into `pieces` and ask for those."""
        answer = _Answer(ask)
        stale = 0
        for page in self.searcher.pages(ask):
            if self.stop.is_set():
                break
            self._count()
            stale = 0 if answer.take(page) else stale + 1
            if stale == _STALE_PAGES and page.has_next:
                raise ServiceError(
                    f"the catalogue goes in a circle: {stale} pages without a new item for "
                    f"{ask.interval}"
                )
            if answer.pages == 1 and page.has_next:
                answer.split = _worth_cutting(ask, page, pieces)
                if answer.split:
                    break
        return answer

    def _count(self) -> None:
        with self.lock:
            self.pages += 1
            if self.pages > MAX_PAGES:
                raise ConfigurationError(
                    f"the search has more than {MAX_PAGES} pages; narrow its time, place or "
                    "predicates, or raise page_limit"
                )


def _answers(run: _Run, provider: Provider) -> list[_Answer]:
    """Complete answers of all shards, in order of time.

    A shard that holds more than a few pages is cut again while threads are idle. With `max_items`,
    later shards are given up, and `run.stop` is set, once earlier ones hold enough.
    """
    workers = max(provider.limits.concurrent_searches, 1)
    whole = Ask.of(provider, run.query)
    count = 1 if run.query.ids else ceil((whole.end - whole.start) / _SHARD)
    asks = whole.split(min(count, workers))
    done: list[_Answer] = []
    pool = ThreadPoolExecutor(workers, thread_name_prefix=f"search-{provider.slug}")
    try:
        pending = _submitted(pool, run, asks, workers // len(asks))
        while pending:
            finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                ask = pending.pop(future)
                answer = future.result()
                if answer.split:
                    pending |= _submitted(pool, run, ask.split(answer.split), 1)
                else:
                    done.append(answer)
            done.sort(key=lambda answer: answer.ask.start)
            if pending and _is_enough(done, pending.values(), run.query):
                run.stop.set()
                break
    except BaseException:
        run.stop.set()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return done


def _submitted(
    pool: ThreadPoolExecutor, run: _Run, asks: Iterable[Ask], pieces: int
) -> dict[Future[_Answer], Ask]:
    return {pool.submit(run.answer, ask, pieces): ask for ask in asks}


def _worth_cutting(ask: Ask, page: Page, pieces: int) -> int:
    """Into how many pieces to cut a shard that has a second page; 0 to page on."""
    if page.matched is not None:
        pages = ceil(page.matched / ask.page_limit)
        pieces = 0 if pages <= _FEW_PAGES else min(pieces, pages)
    pieces = min(pieces, (ask.end - ask.start) // _DAY)
    return pieces if pieces > 1 else 0


def _is_enough(done: list[_Answer], pending: Iterable[Ask], query: ItemQuery) -> bool:
    """Whether the answers before every pending shard hold `max_items` Items that pass."""
    open_from = min((ask.start for ask in pending), default=None)
    if query.max_items is None or open_from is None:
        return False
    unique, _ = _unique([answer for answer in done if answer.ask.end <= open_from])
    return len(Sieve(query).passing(unique)) >= query.max_items


def _unique(answers: list[_Answer]) -> tuple[list[dict[str, Any]], list[str]]:
    """Each Item once, and what is odd about the answers."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    warnings = []
    for answer in answers:
        for key, item in answer.items.items():
            if key not in found or _updated(item) > _updated(found[key]):
                found[key] = item
        if answer.repeated:
            warnings.append(
                f"{answer.repeated} items came more than once for {answer.ask.interval}"
            )
        if answer.matched is not None and answer.matched != len(answer.items):
            warnings.append(
                f"the catalogue says that {answer.matched} items match {answer.ask.interval}, "
                f"and gave {len(answer.items)}"
            )
    return list(found.values()), warnings


def _matched(answers: list[_Answer]) -> int | None:
    """Stated count of the whole: Items on a border are counted by both its shards."""
    stated = [answer.matched for answer in answers]
    if not stated or None in stated:
        return None
    keys = [key for answer in answers for key in answer.items]
    return sum(count for count in stated if count is not None) - (len(keys) - len(set(keys)))


def _ignored(sieve: Sieve, provider: Provider) -> list[str]:
    return [
        f"{count} items that came fail {predicate.name} {predicate.op} {predicate.value!r}: the "
        f"catalogue was asked ({provider.filter_dialect}) and did not apply it"
        for predicate, count in sieve.failed.items()
        if predicate in heeded(provider, sieve.query)
    ]


def _check_collections(searcher: Searcher, provider: Provider, query: ItemQuery) -> None:
    """Ask for collections that the record does not know: a search for one of none is just empty."""
    for name in query.collections:
        if name in provider.collections or searcher.has_collection(name):
            continue
        near = get_close_matches(name, provider.collections, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigurationError(f"{provider.slug} has no collection {name!r}{hint}")


def _updated(item: dict[str, Any]) -> str:
    return str(properties(item).get("updated") or "")
