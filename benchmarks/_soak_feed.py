"""What happens at the archives during a soak: scenes arrive, and are processed anew.

None is withdrawn: a run that reads it at that moment fails, and is right to.
"""

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx

from geostack_dagster.sandbox.control import Control

LATE_DATE = "2024-07-13"
"""The day of the scenes that every twin holds back."""
EVERY_MIN = 0.5
_SEARCH = "https://earth-search.aws.element84.com/v1/search"
_MODEL = date(2024, 7, 3)


@dataclass
class Feed:
    """One event at a time, the next one when `tick` finds that it is due."""

    control: Control
    done: dict[str, int] = field(default_factory=dict)
    """Events so far, by kind."""
    _number: int = 0
    _new: list[dict[str, Any]] = field(default_factory=list)

    def tick(self, minutes: float) -> None:
        """Let the next event happen if it is due."""
        if minutes < self._number * EVERY_MIN:
            return
        turn = (self._arrive, self._publish, self._change, self._publish)
        event = turn[self._number % len(turn)]
        self._number += 1
        if event():
            name = event.__name__.removeprefix("_")
            self.done[name] = self.done.get(name, 0) + 1

    def _arrive(self) -> bool:
        """One that was held back."""
        pending = self.control.pending()
        if pending:
            self.control.arrive(pending[0]["id"])
        return bool(pending)

    def _publish(self) -> bool:
        """A new one of the last days."""
        day = datetime.now(UTC).date() - timedelta(days=1 + len(self._new) % 3)
        model = _models()[len(self._new) % 2]
        item = _on(model, day, len(self._new) // 6)
        self.control.publish("earth_search", [item])
        self._new.append(item)
        return True

    def _change(self) -> bool:
        """One is processed anew under its name."""
        if not self._new:
            return False
        item = self._new[-1]
        item["properties"]["updated"] = datetime.now(UTC).isoformat()
        self.control.publish("earth_search", [item])
        return True


def _models() -> list[dict[str, Any]]:
    """A scene of each tile, as the twin of Earth Search tells of it."""
    body = {
        "collections": ["sentinel-2-l2a"],
        "datetime": f"{_MODEL}T00:00:00Z/{_MODEL + timedelta(days=1)}T00:00:00Z",
        "limit": 50,
    }
    with httpx.Client(verify=os.environ["SSL_CERT_FILE"], timeout=60) as client:
        found = client.post(_SEARCH, json=body).json()["features"]
    return sorted(found, key=lambda item: str(item["id"]))


def _on(model: dict[str, Any], day: date, sequence: int) -> dict[str, Any]:
    """The same scene on another day."""
    text = json.dumps({**model, "links": []})
    for form in ("%Y%m%d", "%Y-%m-%d", "%Y/%-m/%-d"):
        text = text.replace(_MODEL.strftime(form), day.strftime(form))
    item: dict[str, Any] = json.loads(text.replace("_0_L2A", f"_{sequence}_L2A"))
    return item
