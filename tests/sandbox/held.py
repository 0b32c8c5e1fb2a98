"""Objects put into a running sandbox: a small document at whatever address a test wants."""

import hashlib
import json

from geostack_dagster.sandbox import Sandbox


def hold(sandbox: Sandbox, archive: str, href: str) -> bytes:
    """Put a document at an address on a twin's store; returns its bytes."""
    name = f"held-{hashlib.md5(href.encode()).hexdigest()[:12]}"
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "held",
        "geometry": None,
        "properties": {"datetime": "2024-06-03T00:00:00Z"},
        "links": [],
        "assets": {"held": {"href": href, "type": "application/json"}},
    }
    sandbox.control.publish(archive, [item])
    return json.dumps({"item": name, "note": "made by the sandbox"}).encode()
