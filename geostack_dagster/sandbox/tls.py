"""A throw-away certificate authority, and the bundle that makes clients trust it."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import certifi
import trustme


@dataclass(frozen=True, slots=True)
class Certificates:
    """What the server presents and what clients trust."""

    context: ssl.SSLContext
    bundle: Path
    """The usual authorities and ours, PEM."""


def issue(hosts: Sequence[str], folder: Path) -> Certificates:
    """Certificates for host names (wildcards allowed), with their bundle in `folder`."""
    authority = trustme.CA(organization_name="geostack sandbox")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(context)
    context.set_alpn_protocols(["http/1.1"])
    bundle = folder / "ca-bundle.pem"
    public = Path(certifi.where()).read_bytes()
    bundle.write_bytes(public + b"\n" + authority.cert_pem.bytes())
    return Certificates(context, bundle)
