"""`geostack snapshot` and `geostack plan`: the catalogue without Dagster."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geostack_dagster.cli.surroundings import ROOT
from geostack_dagster.domain.aoi import AOI
from geostack_dagster.domain.query import ItemQuery, Predicate
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.providers import provider_named

if TYPE_CHECKING:
    from geostack_dagster.pipeline.spec import PipelineSpec

_PREDICATE = re.compile(r"\s*([\w:.-]+)\s*(<=|>=|!=|=|<|>)\s*(.+?)\s*")
_OPS = {"<=": "lte", ">=": "gte", "!=": "neq", "=": "eq", "<": "lt", ">": "gt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A search as it was typed."""

    provider: str
    collection: str
    start: str
    end: str
    area: AOI
    where: tuple[str, ...] = ()
    max_items: int | None = None
    client: str = "pystac-client"


def take(ask: Ask, output: Path) -> dict[str, Any]:
    """Search and write the snapshot; what was found.

    Raises:
        ConfigurationError: If any part of the ask is wrong.
        ServiceError: If the catalogue does not answer.
    """
    from geostack_dagster.catalog.snapshot import take_snapshot, write

    provider = provider_named(ask.provider)
    provider.collection(ask.collection)
    query = ItemQuery(
        collections=(ask.collection,),
        aoi=ask.area,
        start=_instant(ask.start),
        end=_instant(ask.end),
        predicates=tuple(predicate(text) for text in ask.where),
        max_items=ask.max_items,
    )
    snapshot = take_snapshot(provider, query, client=ask.client)
    write(snapshot, str(output))
    return {
        "items": len(snapshot.items),
        "superseded": [asdict(one) for one in snapshot.superseded],
        "rejected": [asdict(one) for one in snapshot.rejected],
        "warnings": list(snapshot.warnings),
        "fingerprint": snapshot.fingerprint,
        "snapshot": str(output),
    }


def plan_of(pipeline: str, *, start: str, end: str, aois: Sequence[Path]) -> dict[str, Any]:
    """What a backfill of a pipeline would read.

    Raises:
        ConfigurationError: If the pipeline is unknown, or dates or AOIs are wrong.
    """
    from geostack_dagster.domain.days import Window
    from geostack_dagster.domain.grid import choose_crs
    from geostack_dagster.pipeline.plan import partition_dates, plan_backfill
    from geostack_dagster.pipeline.workspace import Pin

    spec = spec_of(pipeline)
    window = Window(_day(start), _day(end))
    areas = [AOI.from_file(path) for path in aois]
    pins = [Pin(area, spec.crs or choose_crs(area)) for area in areas]
    plans = plan_backfill(spec, pins, window)
    return {
        "pipeline": spec.name,
        "partitions": len(partition_dates(window, spec.cadence)) * len(pins),
        "partitions_with_items": len(plans),
        "items": sum(one.items for one in plans),
        "requests": sum(one.requests for one in plans),
        "bytes": sum(one.bytes for one in plans),
        "processing_units": round(sum(one.processing_units for one in plans), 3),
        "estimate": "from metadata: 512 x 512 tiles at 0.7 of their size; no header was opened",
        "by_partition": [asdict(one) for one in plans],
    }


def area(bbox: str | None, file: Path | None) -> AOI:
    """The AOI that a bbox or a file gives.

    Raises:
        ConfigurationError: If both or neither are given, or it is not a valid area.
    """
    if (bbox is None) == (file is None):
        raise ConfigurationError("give either --bbox west,south,east,north or --aoi FILE")
    if file is not None:
        return AOI.from_file(file)
    try:
        return AOI.from_bbox("bbox", [float(value) for value in (bbox or "").split(",")])
    except ValueError as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"--bbox {bbox!r} is not four numbers") from error


def predicate(text: str) -> Predicate:
    """Predicate of a text such as `eo:cloud_cover<=60`.

    Raises:
        ConfigurationError: If it is not a comparison.
    """
    found = _PREDICATE.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"{text!r} is no comparison; write it like eo:cloud_cover<=60")
    name, op, value = found.groups()
    try:
        return Predicate(name, _OPS[op], float(value))
    except ValueError:
        return Predicate(name, _OPS[op], value)


def spec_of(pipeline: str) -> "PipelineSpec":
    """What the pipeline of that name was declared to do.

    Raises:
        ConfigurationError: If there is none.
    """
    import dagster as dg

    from geostack_dagster.components import ProviderPipeline

    tree = dg.ComponentTree.for_project(ROOT)
    names = sorted(
        file.parent.name
        for file in tree.defs_module_path.glob("*/defs.yaml")
        if ProviderPipeline.__name__ in file.read_text(encoding="utf-8")
    )
    if pipeline not in names:
        raise ConfigurationError(f"no pipeline {pipeline!r}; there are {', '.join(names)}")
    return tree.load_component(Path(pipeline), ProviderPipeline).spec(pipeline)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a date like 2024-06-01") from error


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(f"{text!r} is not a date like 2024-06-01") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
