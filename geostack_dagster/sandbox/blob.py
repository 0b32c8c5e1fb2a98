"""Azure Blob Storage twin: private containers behind shared access signatures.

Refusals are the real ones: 409 PublicAccessNotPermitted unsigned, 403 AuthenticationFailed for a
signature that is wrong or out of time, 403 AuthorizationPermissionMismatch for a write with a
read-only signature.
"""

import uuid
from datetime import datetime
from email.utils import format_datetime
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from geostack_dagster.sandbox import clock
from geostack_dagster.sandbox.bodies import (
    UnsatisfiableRangeError,
    send_object,
    send_xml,
    span_of,
)
from geostack_dagster.sandbox.faults import is_expired_by_fault
from geostack_dagster.sandbox.objects import Stored, Vault
from geostack_dagster.sandbox.sas import SasAuthority, Verdict

HOST_SUFFIX = ".blob.core.windows.net"
PUBLIC_ACCOUNTS = frozenset({"ai4edatasetspublicassets"})
_SERVER = "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0"
_MESSAGES = {
    "PublicAccessNotPermitted": (409, "Public access is not permitted on this storage account."),
    "AuthenticationFailed": (
        403,
        (
            "Server failed to authenticate the request. Make sure the value of Authorization "
            "header is formed correctly including the signature."
        ),
    ),
    "AuthorizationPermissionMismatch": (
        403,
        "This request is not authorized to perform this operation using this permission.",
    ),
    "BlobNotFound": (404, "The specified blob does not exist."),
    "ContainerNotFound": (404, "The specified container does not exist."),
    "InvalidRange": (416, "The range specified is invalid for the current size of the resource."),
}


class BlobTwin:
    """Serves every account under `*.blob.core.windows.net`."""

    def __init__(self, vault: Vault, authority: SasAuthority) -> None:
        self._vault = vault
        self._authority = authority

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        account = request.headers["host"].partition(".")[0]
        container, _, key = request.url.path.lstrip("/").partition("/")
        refusal = self._refusal(request, account, container)
        if refusal is not None:
            await self._error(request, send, *refusal)
            return
        name = f"{account}/{container}"
        if not self._vault.has_container("blob", name):
            await self._error(request, send, "ContainerNotFound")
        elif request.query_params.get("comp") == "list":
            await self._list(request, send, name)
        else:
            await self._get(request, send, self._vault.find("blob", name, key))

    def _refusal(self, request: Request, account: str, container: str) -> tuple[str, ...] | None:
        query = dict(request.query_params)
        verdict = self._authority.verdict(query, account, container)
        if verdict is Verdict.VALID and is_expired_by_fault(request.scope):
            verdict = Verdict.OUT_OF_TIME
        is_read = request.method in ("GET", "HEAD")
        if verdict is Verdict.ABSENT:
            is_open = account in PUBLIC_ACCOUNTS and is_read
            return None if is_open else ("PublicAccessNotPermitted",)
        if verdict is Verdict.OUT_OF_TIME:
            return "AuthenticationFailed", (
                "Signature not valid in the specified time frame: "
                f"Start [{_http(query['st'])}] - Expiry [{_http(query['se'])}] - "
                f"Current [{format_datetime(clock.now(), usegmt=True)}]"
            )
        if verdict is Verdict.MALFORMED:
            return "AuthenticationFailed", "Signature fields not well formed."
        if verdict is Verdict.MISMATCH:
            return "AuthenticationFailed", "Signature did not match."
        return None if is_read else ("AuthorizationPermissionMismatch",)

    async def _get(self, request: Request, send: Send, stored: Stored | None) -> None:
        if stored is None:
            await self._error(request, send, "BlobNotFound")
            return
        try:
            span = span_of(request.headers, stored.size)
        except UnsatisfiableRangeError:
            await self._error(request, send, "InvalidRange")
            return
        created = format_datetime(stored.modified, usegmt=True)
        extra = _common() | {
            "etag": f'"0x8D{stored.etag[:13].upper()}"',
            "x-ms-creation-time": created,
            "x-ms-blob-type": "BlockBlob",
            "x-ms-access-tier": "Hot",
            "x-ms-access-tier-inferred": "true",
            "x-ms-lease-status": "unlocked",
            "x-ms-lease-state": "available",
            "x-ms-server-encrypted": "true",
        }
        await send_object(stored, span, extra, send, is_head=request.method == "HEAD")

    async def _list(self, request: Request, send: Send, container: str) -> None:
        prefix = request.query_params.get("prefix", "")
        delimiter = request.query_params.get("delimiter", "")
        blobs, folders = [], set()
        for key in self._vault.keys("blob", container, prefix):
            head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
            if cut:
                folders.add(prefix + head + delimiter)
            else:
                blobs.append(key)
        document = "".join(
            [
                '<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>',
                *(self._listed(container, key) for key in blobs),
                *(
                    f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>"
                    for name in sorted(folders)
                ),
                "</Blobs><NextMarker /></EnumerationResults>",
            ]
        )
        await send_xml(200, document, _common(), send)

    def _listed(self, container: str, key: str) -> str:
        stored = self._vault.find("blob", container, key)
        if stored is None:
            return ""
        modified = format_datetime(stored.modified, usegmt=True)
        return (
            f"<Blob><Name>{escape(key)}</Name><Properties><Last-Modified>{modified}"
            f"</Last-Modified><Etag>0x8D{stored.etag[:13].upper()}</Etag>"
            f"<Content-Length>{stored.size}</Content-Length>"
            f"<Content-Type>{escape(stored.content_type)}</Content-Type>"
            "<BlobType>BlockBlob</BlobType></Properties></Blob>"
        )

    async def _error(self, request: Request, send: Send, code: str, detail: str = "") -> None:
        status, message = _MESSAGES[code]
        common = _common() | {"x-ms-error-code": code}
        now = clock.now().isoformat().replace("+00:00", "Z")
        detail = (
            f"<AuthenticationErrorDetail>{escape(detail)}</AuthenticationErrorDetail>"
            if detail
            else ""
        )
        document = (
            f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}\n'
            f"RequestId:{common['x-ms-request-id']}\nTime:{now}</Message>{detail}</Error>"
        )
        await send_xml(status, document, common, send, is_head=request.method == "HEAD")


def _common() -> dict[str, str]:
    return {
        "server": _SERVER,
        "x-ms-request-id": str(uuid.uuid4()),
        "x-ms-version": "2021-06-08",
        "date": format_datetime(clock.now(), usegmt=True),
    }


def _http(instant: str) -> str:
    return format_datetime(datetime.fromisoformat(instant), usegmt=True)
