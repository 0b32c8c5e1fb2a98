"""JSON documents as one Arrow table, parsed in chunks by Arrow itself.

Arrow infers a type for every member. It gives up where documents disagree ("72" in one, 72 in
another); there the type seen first stays and the other values are left out of the table. Rows where
anything of that kind can have happened are marked: whoever needs those in full compares them with
their documents (`geostack_dagster.catalog.patches`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
from numpy.typing import NDArray

_CHUNK = 2048
_BLOCKS = 4  # parsed in parallel; inference over several blocks can fail where one would not
_SAMPLE = 64  # documents that the first schema is inferred from; a surprise later costs one parse
_LEFT_OUT = object()
_DISAGREEMENT = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowNotImplementedError,
    orjson.JSONEncodeError,
)
_INT64 = 2**63
_EXACT = 2.0**53  # beyond, a float may stand for an integer that it does not equal

type Document = Mapping[str, Any]
type Doubts = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Columns:
    """Documents as a table, in order."""

    table: pa.Table
    """`id` is always among its columns."""
    doubtful: Doubts
    """Rows that may lack something of their document; the others hold all of it."""


def columns_of(documents: Iterable[Document]) -> Columns:
    """All documents as columns."""
    schema = pa.schema([("id", pa.string())])
    tables: list[pa.Table] = []
    doubts: list[Doubts] = [np.zeros(0, dtype=np.bool_)]
    for chunk in batched(documents, _CHUNK):
        table, doubtful = _parsed(chunk, schema)
        schema = _widest(schema, table.schema)
        tables.append(table)
        doubts.append(doubtful)
    whole = pa.schema([_writable_field(field) for field in schema if _holds(field.type)])
    joined = pa.concat_tables([_cast(table, whole) for table in tables] or [whole.empty_table()])
    doubtful = np.concatenate(doubts)
    if any(_loses(field.type) for field in schema) or any(map(_is_huge, _leaves(joined))):
        doubtful[:] = True
    return Columns(joined, doubtful)


def _parsed(chunk: Sequence[Document], schema: pa.Schema) -> tuple[pa.Table, Doubts]:
    """Table of a chunk, of a schema that widens `schema`."""
    try:
        lines, doubtful = _lines(chunk)
        try:
            return _read(lines, _widened(schema, lines[:_SAMPLE]), _BLOCKS), doubtful
        except _DISAGREEMENT:
            return _read(lines, _widened(schema, lines)), doubtful
    except _DISAGREEMENT:
        kinds = {field.name: _kind_of_type(field.type) for field in schema}
        lines, _ = _lines([_agreeing(document, kinds) for document in chunk])
        return _read(lines, _widened(schema, lines)), np.ones(len(chunk), dtype=np.bool_)


def _lines(chunk: Sequence[Document]) -> tuple[list[bytes], Doubts]:
    """JSON of each document, and whether it holds a null: a column cannot tell it from absence."""
    lines = list(map(orjson.dumps, chunk))
    doubtful = np.fromiter((b"null" in line for line in lines), np.bool_, len(lines))
    for row in map(int, np.flatnonzero(doubtful)):
        # Arrow's JSON reader miscounts nulls in lists: [null, 1] becomes [1, 0] or is invalid.
        if b"[null" in lines[row] or b",null" in lines[row]:
            lines[row] = orjson.dumps(_without_null_elements(chunk[row]))
    return lines, doubtful


def _widened(schema: pa.Schema, sample: Sequence[bytes]) -> pa.Schema:
    return _widest(schema, _as_text(_parse(sample, None).schema))


def _widest(schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    return pa.unify_schemas([schema, other], promote_options="permissive")


def _read(lines: Sequence[bytes], schema: pa.Schema, blocks: int = 1) -> pa.Table:
    table = _parse(lines, schema, blocks)
    found = _as_text(table.schema)
    # A member that the sample lacked may look like a date.
    return table if found == table.schema else _parse(lines, found, blocks)


def _parse(lines: Sequence[bytes], schema: pa.Schema | None, blocks: int = 1) -> pa.Table:
    data = b"\n".join(lines)
    known = None
    if schema is not None:
        known = pa.schema([_open_field(field) for field in schema if not _is_unknown(field.type)])
    return pj.read_json(
        pa.BufferReader(data),
        # Each block must hold the longest document.
        read_options=pj.ReadOptions(block_size=max(len(data) // blocks, *map(len, lines), 1) + 2),
        parse_options=pj.ParseOptions(explicit_schema=known, unexpected_field_behavior="infer"),
    )


def _without_null_elements(value: Any) -> Any:
    """The value without members whose lists hold a null; `_LEFT_OUT` for such a list."""
    if isinstance(value, Mapping):
        members = {name: _without_null_elements(member) for name, member in value.items()}
        return {name: member for name, member in members.items() if member is not _LEFT_OUT}
    if isinstance(value, list):
        elements = [
            _LEFT_OUT if element is None else _without_null_elements(element) for element in value
        ]
        return _LEFT_OUT if _LEFT_OUT in elements else elements
    return value


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema == schema:
        return table
    present = set(table.column_names)
    for field in schema:
        if field.name not in present:
            table = table.append_column(field, pa.nulls(len(table), field.type))
    # Unsafe only in that huge integers lose digits beside floats; the comparison notices.
    return table.select(schema.names).cast(schema, safe=False)


def _as_text(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(field.name, _mapped(field.type, _text)) for field in schema])


def _text(leaf: pa.DataType) -> pa.DataType:
    # Arrow takes strings that look like dates for timestamps and would change how they are spelled.
    return pa.string() if pa.types.is_temporal(leaf) else leaf


def _open_field(field: pa.Field) -> pa.Field:
    """Field without children of unknown type, which Arrow would refuse values for."""
    return pa.field(field.name, _opened(field.type))


def _opened(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([_open_field(child) for child in kind if not _is_unknown(child.type)])
    if pa.types.is_list(kind):
        return pa.list_(_opened(kind.value_type))
    return kind


def _is_unknown(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _is_unknown(kind.value_type)
    return bool(pa.types.is_null(kind))


def _holds(kind: pa.DataType) -> bool:
    """Whether Parquet can hold the type: not a struct without members, nor nulls alone."""
    if pa.types.is_struct(kind):
        return any(_holds(child.type) for child in kind)
    if pa.types.is_list(kind):
        return _is_unknown(kind.value_type) or _holds(kind.value_type)
    return not pa.types.is_null(kind)


def _writable_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _writable(field.type))


def _writable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([_writable_field(child) for child in kind if _holds(child.type)])
    if pa.types.is_list(kind):
        # A list that is empty in every document keeps its place as a list of strings.
        return pa.list_(_writable(kind.value_type))
    return pa.string() if pa.types.is_null(kind) else kind


def _loses(kind: pa.DataType) -> bool:
    """Whether `_writable` drops something of the type that is not null."""
    if pa.types.is_struct(kind):
        return not any(_holds(child.type) for child in kind) or any(
            _loses(child.type) for child in kind
        )
    return bool(pa.types.is_list(kind) and _loses(kind.value_type))


def _leaves(table: pa.Table) -> Iterator[pa.ChunkedArray]:
    pending = list(table.columns)
    while pending:
        column = pending.pop()
        if pa.types.is_struct(column.type):
            pending.extend(column.flatten())
        elif pa.types.is_list(column.type):
            pending.append(pc.list_flatten(column))
        else:
            yield column


def _is_huge(column: pa.ChunkedArray) -> bool:
    if not pa.types.is_floating(column.type):
        return False
    ends = pc.min_max(column).as_py().values()
    return any(end is not None and abs(end) >= _EXACT for end in ends)


def _mapped(kind: pa.DataType, change: Any) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(child.name, _mapped(child.type, change)) for child in kind])
    if pa.types.is_list(kind):
        return pa.list_(_mapped(kind.value_type, change))
    return change(kind)


def _kind_of_type(kind: pa.DataType) -> Any:
    """The kinds that `_agreeing` compares with: a mapping, a one-element list, a word or None."""
    if pa.types.is_struct(kind):
        return {child.name: _kind_of_type(child.type) for child in kind}
    if pa.types.is_list(kind):
        return [_kind_of_type(kind.value_type)]
    if pa.types.is_null(kind):
        return None
    if pa.types.is_boolean(kind):
        return "bool"
    return "number" if pa.types.is_integer(kind) or pa.types.is_floating(kind) else "text"


def _agreeing(document: Document, kinds: dict[str, Any]) -> dict[str, Any]:
    """The members of a document that agree with `kinds`, which learns what it does not know."""
    kept = {}
    for name, value in document.items():
        merged = _merged(kinds.get(name), value)
        if merged is _LEFT_OUT:
            continue
        kinds[name] = merged
        kept[name] = _agreeing(value, merged) if isinstance(value, Mapping) else value
    return kept


def _merged(known: Any, value: Any) -> Any:
    """Kind that holds both what is known and the value; `_LEFT_OUT` when none does."""
    if value is None:
        return known
    if isinstance(value, Mapping):
        return {} if known is None else known if isinstance(known, dict) else _LEFT_OUT
    if isinstance(value, list):
        if known is not None and not isinstance(known, list):
            return _LEFT_OUT
        element = known[0] if known else None
        for entry in value:
            element = _merged_element(element, entry)
            if element is _LEFT_OUT:
                return _LEFT_OUT
        return [element]
    word = _word(value)
    return word if word is not None and known in (None, word) else _LEFT_OUT


def _merged_element(known: Any, value: Any) -> Any:
    """As `_merged`, and all members must agree: a list is kept or left out as a whole."""
    merged = _merged(known, value)
    if not isinstance(value, Mapping) or merged is _LEFT_OUT:
        return merged
    merged = dict(merged)
    for name, member in value.items():
        inner = _merged_element(merged.get(name), member)
        if inner is _LEFT_OUT:
            return _LEFT_OUT
        merged[name] = inner
    return merged


def _word(value: object) -> str | None:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number" if abs(value) < _INT64 else None
    if isinstance(value, str):
        return "text" if value.isascii() or _is_utf8(value) else None
    return None


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
