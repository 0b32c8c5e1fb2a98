"""`ListObjectsV2`: the keys of a bucket, page by page."""

from xml.sax.saxutils import escape

from starlette.datastructures import QueryParams

from geostack_dagster.sandbox.objects import Vault

_MAX_KEYS = 1000


def listing(vault: Vault, bucket: str, query: QueryParams) -> str:
    """One page of a listing as XML."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = query.get("continuation-token") or query.get("start-after") or ""
    limit = min(int(query.get("max-keys", _MAX_KEYS)), _MAX_KEYS)
    entries: dict[str, bool] = {}
    for key in vault.keys("s3", bucket, prefix):
        head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        entries[prefix + head + delimiter if cut else key] = bool(cut)
    names = [name for name in entries if name > after]
    shown = names[:limit]
    is_cut = len(names) > limit
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
        f"<KeyCount>{len(shown)}</KeyCount><MaxKeys>{limit}</MaxKeys>"
        f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>"
    )
    parts = [head]
    if is_cut:
        parts.append(f"<NextContinuationToken>{escape(shown[-1])}</NextContinuationToken>")
    parts += [_listed(vault, bucket, name, is_folder=entries[name]) for name in shown]
    return "".join([*parts, "</ListBucketResult>"])


def _listed(vault: Vault, bucket: str, name: str, *, is_folder: bool) -> str:
    if is_folder:
        return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
    stored = vault.find("s3", bucket, name)
    if stored is None:
        return ""
    return (
        f"<Contents><Key>{escape(name)}</Key><LastModified>"
        f"{stored.modified.strftime('%Y-%m-%dT%H:%M:%S.000Z')}</LastModified>"
        f"<ETag>&quot;{stored.etag}&quot;</ETag><Size>{stored.size}</Size>"
        "<StorageClass>INTELLIGENT_TIERING</StorageClass></Contents>"
    )
