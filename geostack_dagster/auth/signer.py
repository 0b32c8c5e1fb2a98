"""What every auth scheme gives to a reader: a way to turn a canonical href into a request."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol, override

from geostack_dagster.domain.hrefs import Href, SignedHref


class AuthScheme(StrEnum):
    """How bytes are asked for; one module here for each."""

    ANONYMOUS = "anonymous"
    SAS = "sas"
    REQUESTER_PAYS = "requester-pays"
    S3_KEYS = "s3-keys"
    EARTHDATA = "earthdata"
    OAUTH2 = "oauth2"
    BASIC = "basic"


@dataclass(frozen=True, slots=True)
class Credential:
    """Secret values with the moment they stop working and where they came from.

    The values never appear in a repr; `source` names a variable or file, for messages.
    """

    values: Mapping[str, str] = field(repr=False)
    expires_at: datetime | None
    """None for a credential that does not expire by itself."""
    source: str
    is_renewed_early: bool = True
    """False where the service gives the same one again until it is dead: asking early is vain."""

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to travel: every process resolves its own."""
        message = "a Credential must not be pickled; resolve it where it is used"
        raise TypeError(message)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A URL and headers that open an asset now; not to be kept, logged or pickled."""

    url: SignedHref = field(repr=False)
    headers: Mapping[str, str] = field(repr=False, default_factory=dict)
    credential: Credential | None = field(repr=False, default=None)
    """What it was signed with; tells a refused credential from one renewed meanwhile."""

    @override
    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to travel: a task graph must carry canonical hrefs and sign where it reads."""
        message = "a SignedRequest must not be pickled; pass the Href and sign at the read"
        raise TypeError(message)


class Signer(Protocol):
    """Turns canonical hrefs into requests, at read time, as often as asked.

    Implementations are cheap to call: credentials come from the broker's cache and are renewed
    there before they expire.
    """

    def scope(self, href: Href) -> str:
        """What one credential opens: a container, a bucket, a host; the empty string for none."""
        ...

    def sign(self, href: Href) -> SignedRequest:
        """A request that is valid now.

        Raises:
            MissingCredentialError: If the scheme needs a credential and none was found.
            RejectedCredentialError: If the provider refused it.
            ServiceError: If the token service is busy or down.
        """
        ...

    def credential(self, href: Href) -> Credential | None:
        """The bare credential that `sign` works with, for object-store clients that sign alone.

        None where none is needed. Raises as `sign` does.
        """
        ...

    def forget(self, href: Href, refused: SignedRequest) -> bool:
        """Drop the credential behind a request that the provider refused.

        True if `sign` will now give a different request, so trying once more makes sense; False
        if there is none to renew, or it was fetched a moment ago and is denied all the same.
        """
        ...
