"""A recorded conversation, answered again at its real hosts, in the order it was recorded."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from tests.real_hosts import Answer, RealHosts, Request, real_hosts

_AFTER = "cmr-search-after"
_OF_THE_CONNECTION = {"content-length", "transfer-encoding", "connection", "content-encoding"}


@dataclass
class Conversation:
    """Answers with the recorded exchanges of the same address, each once, the last for ever.

    A page that the recording does not hold is an empty one.
    """

    exchanges: list[dict[str, Any]]
    beyond: list[str] = field(default_factory=list)
    """Addresses that were asked for and are not in the recording."""
    given: list[int] = field(default_factory=list)

    def __call__(self, asked: Request) -> Answer:
        found = [n for n in range(len(self.exchanges)) if self.fits(n, asked)]
        wanted = _is_count(asked.path.partition("?")[2])
        alike = [n for n in found if _is_count(self.uri(n).query) == wanted]
        found = alike or found
        if not found:
            self.beyond.append(asked.path)
            empty = b'{"hits": 0, "items": []}' if _AFTER in asked.headers else b""
            return Answer(200 if empty else 404, empty)
        number = next((n for n in found if n not in self.given), found[-1])
        self.given.append(number)
        return encoded(self.exchanges[number]["response"])

    def uri(self, number: int) -> SplitResult:
        return urlsplit(self.exchanges[number]["request"]["uri"])

    def fits(self, number: int, asked: Request) -> bool:
        parts, path = self.uri(number), asked.path.partition("?")[0]
        pattern = parts.path.replace("REDACTED", "*")
        if parts.hostname != asked.host or not fnmatchcase(path, pattern):
            return False
        return self.follows(number, asked)

    def follows(self, number: int, asked: Request) -> bool:
        """Whether it continues what the client says it has read."""
        after = asked.headers.get(_AFTER)
        before = self.exchanges[number - 1]["response"]["headers"] if number else {}
        stated = {name.lower(): values[0] for name, values in before.items()}.get(_AFTER)
        return after is None or after == stated


def encoded(response: dict[str, Any]) -> Answer:
    body = json.dumps(response["json"]) if "json" in response else response.get("text", "")
    headers = {
        name: values[0]
        for name, values in response["headers"].items()
        if name.lower() not in _OF_THE_CONNECTION
    }
    return Answer(response["status"], body.encode(), headers)


def _is_count(query: str) -> bool:
    return parse_qs(query).get("page_size") == ["0"]


@contextmanager
def replayed(
    folder: Path, fixtures: Path, *names: str, hosts: tuple[str, ...] = ()
) -> Iterator[tuple[RealHosts, Conversation]]:
    exchanges = [
        json.loads(line)
        for name in names
        for line in (fixtures / "http" / f"{name}.ndjson").read_text().splitlines()
    ]
    spoken = {str(urlsplit(one["request"]["uri"]).hostname) for one in exchanges}
    conversation = Conversation(exchanges)
    with real_hosts(folder, (*sorted(spoken), *hosts), conversation) as found:
        yield found, conversation
