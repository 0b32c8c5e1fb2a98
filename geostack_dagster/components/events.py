"""From a stage's reports to Dagster's materialization events."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from geostack_dagster.components.columns import table_schema
from geostack_dagster.pipeline.report import StageReport
from geostack_dagster.resources.event_log import log_together

_DATA_VERSION = "dagster/data_version"
_USER_PROVIDED = "dagster/data_version_is_user_provided"
_CODE_VERSION = "dagster/code_version"
_INPUT_VERSION = "dagster/input_data_version"
_INPUT_POINTER = "dagster/input_event_pointer"


def materializations(
    context: dg.AssetExecutionContext, reports: Mapping[str, StageReport]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Yield what Dagster needs to record each partition with its own data version.

    Dagster gives all partitions of a run the one data version of its result, and has no way to say
    otherwise. So it is told that the result was recorded already, as it tells itself for sources
    that report partitions one by one, and every partition gets one event, of its own.
    """
    yield dg.MaterializeResult(metadata={SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True})
    record(context, reports)


def record(context: dg.AssetExecutionContext, reports: Mapping[str, StageReport]) -> None:
    """Write an event of its own for every partition that is done."""
    asset = Made(
        key=context.asset_key,
        parents=tuple(context.assets_def.asset_deps[context.asset_key]),
        code_version=context.assets_def.code_versions_by_key[context.asset_key] or "",
    )
    made_from = provenance(context.instance, asset.parents, list(reports))
    events = [event_of(asset, key, report, made_from[key]) for key, report in reports.items()]
    log_together(context.op_execution_context, events)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An asset of which partitions were made, and by which code."""

    key: dg.AssetKey
    parents: tuple[dg.AssetKey, ...]
    code_version: str


def event_of(
    asset: Made, key: str, report: StageReport, made_from: Mapping[str, str]
) -> dg.AssetMaterialization:
    """The event that a partition was made, with its data version and those it was made from."""
    return dg.AssetMaterialization(
        asset_key=asset.key,
        partition=key,
        metadata=metadata_of(report),
        tags={
            _DATA_VERSION: report.fingerprint,
            _USER_PROVIDED: "true",
            _CODE_VERSION: asset.code_version,
            **made_from,
            **_dimension_tags(key),
        },
    )


def state_of(
    asset: dg.AssetKey, key: dg.MultiPartitionKey, *, version: str, note: str
) -> dg.AssetMaterialization:
    """The event of a partition whose state was changed without a run, such as by a rollback."""
    return dg.AssetMaterialization(
        asset_key=asset,
        partition=key,
        metadata={
            "note": dg.MetadataValue.text(note),
            "fingerprint": dg.MetadataValue.text(version),
        },
        tags={_DATA_VERSION: version, _USER_PROVIDED: "true", **_dimension_tags(key)},
    )


def told(asset: dg.AssetKey, report: StageReport) -> dg.AssetMaterialization:
    """The event of an asset without partitions that was changed without a run, as by a person."""
    return dg.AssetMaterialization(
        asset_key=asset,
        metadata=metadata_of(report),
        tags={_DATA_VERSION: report.fingerprint, _USER_PROVIDED: "true"},
    )


def metadata_of(report: StageReport) -> dict[str, dg.MetadataValue]:
    """Metadata of one partition: the sentence and the pictures first, then numbers and tables."""
    metadata: dict[str, dg.MetadataValue] = {
        "outcome": dg.MetadataValue.text(report.outcome.value),
        "note": dg.MetadataValue.text(report.note),
        **{title: _picture(title, png) for title, png in report.pictures.items()},
        "fingerprint": dg.MetadataValue.text(report.fingerprint),
        "seconds": dg.MetadataValue.float(round(report.seconds, 3)),
        "bytes_read": dg.MetadataValue.int(report.bytes_read),
    }
    metadata |= _artefact(report)
    metadata |= {name: value_of(value) for name, value in report.facts.items() if value is not None}
    metadata |= {name: table_of(rows) for name, rows in report.tables.items() if rows}
    return metadata


def _artefact(report: StageReport) -> dict[str, dg.MetadataValue]:
    """Where the artefact and its parents lie, how long it is and what its columns are."""
    metadata: dict[str, dg.MetadataValue] = {}
    if report.artefact is not None:
        url = report.artefact.url
        # Dagster shows no other kind of value under this name.
        metadata["dagster/uri"] = dg.MetadataValue.text(url if "://" in url else f"file://{url}")
        parents = report.artefact.parents.items()
        metadata |= {f"parent_{stage}": value_of(url) for stage, url in parents}
    if report.rows is not None:
        metadata["dagster/partition_row_count"] = dg.MetadataValue.int(report.rows)
    if report.columns:
        metadata["dagster/column_schema"] = dg.MetadataValue.table_schema(
            table_schema(report.columns)
        )
    return metadata


def value_of(value: Any) -> dg.MetadataValue:
    """A fact as metadata; numbers with as many digits as a person reads."""
    match value:
        case bool():
            return dg.MetadataValue.bool(value)
        case int():
            return dg.MetadataValue.int(value)
        case float():
            return dg.MetadataValue.float(_readable(value))
        case str() if value.startswith(("/", "file://", "s3://", "az://", "gs://")):
            return dg.MetadataValue.path(value)
        case str():
            return dg.MetadataValue.text(value)
        case _:
            return dg.MetadataValue.json(_rounded(value))


def table_of(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    """Records as a table."""
    records = [dg.TableRecord({name: _cell(cell) for name, cell in row.items()}) for row in rows]
    return dg.MetadataValue.table(records=records)


def _cell(value: object) -> str | int | float | bool:
    if isinstance(value, float):
        return _readable(value)
    if value is None:
        return "-"
    return value if isinstance(value, str | int | bool) else str(value)


def _rounded(value: Any) -> Any:
    """A JSON value with readable numbers."""
    match value:
        case float():
            return _readable(value)
        case Mapping():
            return {name: _rounded(one) for name, one in value.items()}
        case list() | tuple():
            return [_rounded(one) for one in value]
        case _:
            return value


def _readable(value: float) -> float:
    """Six digits: the UI writes all that there are, such as 0.9131000000000001."""
    return float(f"{value:.6g}")


def _picture(title: str, png: bytes) -> dg.MetadataValue:
    return dg.MetadataValue.md(
        f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"
    )


def provenance(
    instance: dg.DagsterInstance, parents: Sequence[dg.AssetKey], keys: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Which version of its parents each partition was made from; without it the UI says unsynced.

    Two questions for each parent, however many partitions there are.
    """
    events, wanted = instance.event_log_storage, set(keys)
    tags: dict[str, dict[str, str]] = {key: {} for key in keys}
    for parent in parents:
        asked = (parent, dg.DagsterEventType.ASSET_MATERIALIZATION)
        ids = events.get_latest_storage_id_by_partition(*asked, wanted)
        versions = events.get_latest_tags_by_partition(*asked, [_DATA_VERSION], list(keys))
        for key, found in versions.items():
            name = parent.to_user_string()
            tags[key][f"{_INPUT_VERSION}/{name}"] = found[_DATA_VERSION]
            tags[key][f"{_INPUT_POINTER}/{name}"] = str(ids[key])
    return tags


def _dimension_tags(key: str) -> dict[str, str]:
    if not isinstance(key, dg.MultiPartitionKey):
        return {}
    return {f"dagster/partition/{name}": value for name, value in key.keys_by_dimension.items()}
