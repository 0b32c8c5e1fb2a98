"""Open data: hrefs as they are, with `s3://` turned into the bucket's https address."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote

from geostack_dagster.auth.signer import SignedRequest
from geostack_dagster.domain.hrefs import Href, SignedHref, locate
from geostack_dagster.errors import ConfigurationError

# As AWS's own clients write a key: servers differ in how they read, and sign, anything else.
SAFE_IN_KEY = "/~-._"


def s3_url(href: Href, region: str) -> str:
    """The https address of an `s3://bucket/key` in AWS.

    Virtual-host style; path style for a bucket with dots, which the wildcard certificate of
    `*.s3.<region>.amazonaws.com` does not cover.
    """
    location = locate(href)
    key = quote(location.key, safe=SAFE_IN_KEY)
    if "." in location.host:
        return f"https://s3.{region}.amazonaws.com/{location.host}/{key}"
    return f"https://{location.host}.s3.{region}.amazonaws.com/{key}"


@dataclass(frozen=True, slots=True)
class AnonymousSigner:
    """Signs nothing: plain https, and `s3://` in the region that `region_of(bucket)` names."""

    region_of: Callable[[str], str]

    def scope(self, href: Href) -> str:
        """The empty string: there is no credential."""
        return ""

    def sign(self, href: Href) -> SignedRequest:
        """The address of the href, without any header.

        Raises:
            ConfigurationError: If the href is neither http(s), `s3://` nor a local file.
        """
        location = locate(href)
        if location.scheme == "s3":
            return SignedRequest(SignedHref(s3_url(href, self.region_of(location.host))))
        if location.scheme in ("https", "http", "file"):
            return SignedRequest(SignedHref(href))
        raise ConfigurationError(
            f"{href} is a {location.scheme}:// address, which cannot be read anonymously; "
            "use its https or s3 address"
        )

    def credential(self, href: Href) -> None:
        """None: open data."""

    def forget(self, href: Href, refused: SignedRequest) -> bool:
        """False: there is nothing to renew."""
        return False
