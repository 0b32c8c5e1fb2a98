"""When a token ends, as Earthdata and others tell it."""

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta

from geostack_dagster.domain.item import number

_SOON = timedelta(minutes=10)
_STILL_ALIVE = timedelta(seconds=1)


def given_expiry(token: str, stated: object, *, skew: timedelta = timedelta()) -> datetime | None:
    """When a token that was given just now ends: by its claims, else by the day that was stated.

    No service gives a dead token: what this machine's clock calls past is a moment away.

    Args:
        token: Perhaps a JWT.
        stated: A day such as `11/19/2024`.
        skew: How far this machine's clock is ahead of the service's.
    """
    claimed = jwt_expiry(token)
    if claimed is None:
        return month_first(stated)
    return max(claimed + skew, datetime.now(UTC) + _STILL_ALIVE)


def month_first(stated: object) -> datetime | None:
    """Expiry written as `11/19/2024`: the beginning of that day, to be on the safe side.

    On the last day itself, whose hour is not told, the token is asked for again soon.
    """
    try:
        day = datetime.strptime(f"{stated} +0000", "%m/%d/%Y %z")
    except ValueError:
        return None
    return max(day.astimezone(UTC), datetime.now(UTC) + _SOON)


def jwt_expiry(token: str) -> datetime | None:
    """The `exp` claim of a token that is a JWT; only to know when to ask for another."""
    body = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        expiry = number(claims.get("exp")) if isinstance(claims, dict) else None
        return None if expiry is None else datetime.fromtimestamp(expiry, UTC)
    except (binascii.Error, ValueError, OverflowError, OSError):
        return None
