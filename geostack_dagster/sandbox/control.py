"""What a test or a benchmark does to a running sandbox, and what it reads from it."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any

from geostack_dagster.domain.item import Item
from geostack_dagster.errors import ConfigurationError
from geostack_dagster.sandbox.faults import Fault


@dataclass(frozen=True, slots=True)
class Control:
    """Changes a running sandbox and reads what happened in it."""

    url: str

    def fault(self, **rule: Any) -> None:
        """Add a fault rule; see `faults.Fault` for the fields."""
        self._ask("POST", "/faults", Fault(**rule).to_json())

    def faults(self) -> list[dict[str, Any]]:
        """The rules with the number of requests each has taken."""
        found: list[dict[str, Any]] = self._ask("GET", "/faults")
        return found

    def clear_faults(self) -> None:
        """Forget all rules."""
        self._ask("DELETE", "/faults")

    def log(self, host: str | None = None) -> list[dict[str, Any]]:
        """Requests so far, those to one host if given."""
        return [entry for entry in self._ask("GET", "/log") if host in (None, entry["host"])]

    def clear_log(self) -> None:
        """Forget the requests so far."""
        self._ask("DELETE", "/log")

    def listed(self) -> list[dict[str, str]]:
        """Archive, collection and id of every Item in the catalogues."""
        found: list[dict[str, str]] = self._ask("GET", "/items")["listed"]
        return found

    def pending(self) -> list[dict[str, str]]:
        """Archive and id of every Item held back."""
        found: list[dict[str, str]] = self._ask("GET", "/items")["pending"]
        return found

    def publish(self, archive: str, items: Sequence[Item]) -> None:
        """Add Items to a catalogue; pixels follow from what they state."""
        self._ask("POST", "/items", {"archive": archive, "items": list(items)})

    def arrive(self, item_id: str) -> None:
        """Let in an Item that is held back."""
        self._ask("POST", "/items/arrive", {"id": item_id})

    def withdraw(self, item_id: str) -> None:
        """Take an Item and its pixels away."""
        self._ask("POST", "/items/withdraw", {"id": item_id})

    def reprocess(self, item_id: str, baseline: str | None = None) -> str:
        """Process a synthetic acquisition anew; returns the id of the new Item."""
        body = {"id": item_id, "baseline": baseline}
        return str(self._ask("POST", "/items/reprocess", body)["result"])

    def mislabel(self, item_id: str) -> None:
        """Let an Earth Search Item deny what it says of its offset; its pixels stay as they are."""
        self._ask("POST", "/items/mislabel", {"id": item_id})

    def set_token_lifetime(self, lifetime_s: float) -> None:
        """How long tokens live that are made from now on."""
        self._ask("POST", "/tokens", {"lifetime_s": lifetime_s})

    def set_clock(self, skew_s: float) -> None:
        """How much the archives' clock is ahead of this machine's."""
        self._ask("POST", "/clock", {"skew_s": skew_s})

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        # http.client knows no proxies, and a loopback address must not go through ours.
        connection = HTTPConnection(self.url.removeprefix("http://"), timeout=60)
        data = None if body is None else json.dumps(body)
        with closing(connection):
            connection.request(method, path, data, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            document = json.loads(answer.read())
        if answer.status != HTTPStatus.OK:
            raise ConfigurationError(document["error"])
        return document
