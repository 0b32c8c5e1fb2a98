"""A file by its canonical href, with the reader that a pipeline chose."""

from geostack_dagster.auth.signer import Signer
from geostack_dagster.domain.hrefs import Href
from geostack_dagster.domain.swath import Opener
from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy
from geostack_dagster.stack.swath.layout import SwathFile
from geostack_dagster.stack.swath.ranged import open_ranged


def open_file(
    href: Href, signer: Signer | None, *, opener: Opener = "obstore", connections: int = 8
) -> SwathFile:
    """The HDF5 file at `href`; nothing of its arrays is read.

    Args:
        href: Canonical; `file:` and plain paths as well.
        signer: Opens protected hrefs at the moment of reading; None for open data.
        opener: `obstore` or `fsspec` carry byte ranges; `earthaccess` opens the file itself.
        connections: How many requests may be in flight; archives allow few.

    Raises:
        AssetError: If there is no such file, or it is no HDF5.
        CredentialError, ServiceError: As every read.
    """
    if opener == "earthaccess":
        from geostack_dagster.stack.swath.earthaccess_files import open_with_earthaccess

        return open_with_earthaccess(href, signer)
    policy = FetchPolicy(in_flight=connections)
    return open_ranged(ByteSource(signer, transport=opener, policy=policy), href)
