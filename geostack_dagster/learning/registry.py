"""The registry of models: an append-only STAC Collection, two aliases, and their history.

Weights and Items are written once, under the model's id. One document, `collection.json`, says
which models there are, which is champion and which challenger, and everything that ever changed
that. It is only ever swapped whole, against the version that was read, so two writers never lose
each other's entry, and a crash leaves the old state or the new one.
"""

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

from geostack_dagster import storage
from geostack_dagster.domain.documents import read_back
from geostack_dagster.errors import ConfigurationError, ConflictError, IntegrityError
from geostack_dagster.inference.detector import Detector
from geostack_dagster.learning.gate import Decision, Outcome
from geostack_dagster.learning.model_card import WEIGHTS, ModelCard, multihash

_ALIASES, _HISTORY = "geostack:aliases", "geostack:history"
RESTORE = "restore it: it names every model"
"""What a person does about a damaged Collection."""
_RESTORE_ITEM = "restore it, or roll back to another model"
_ATTEMPTS = 20
_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Aliases:
    """Which model has which role; None if none."""

    champion: str | None
    challenger: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as it was registered."""

    id: str
    detector: Detector
    item: Mapping[str, Any]
    digest: str
    """Of its weights: part of the fingerprint of every output that it makes."""


@dataclass(frozen=True, slots=True)
class Registry:
    """Models below one folder or bucket URL, without a final `/`."""

    root: str
    name: str = "plume-detector"

    def add(self, card: ModelCard, created: datetime) -> str:
        """Register a model and return its id; one that is there already stays as it is.

        Raises:
            ConfigurationError: If the model belongs to another family.
            ConflictError: If other writers never paused.
        """
        if card.name != self.name:
            raise ConfigurationError(f"{card.name} does not belong into the registry {self.name}")
        if card.id in self.models:
            return card.id
        weights = card.detector.to_bytes()
        item = card.to_item(weights, created)
        # Weights first, the entry last: what the collection names is always whole.
        storage.write_bytes(self._url(card.id, WEIGHTS), weights)
        storage.write_bytes(self.item_url(card.id), _encoded(item))
        self._change(lambda document: _with_model(document, item, created))
        return card.id

    @property
    def models(self) -> tuple[str, ...]:
        """Ids, in the order in which they were registered."""
        links = self._read()[0]["links"]
        return tuple(link["title"] for link in links if link["rel"] == "item")

    @property
    def aliases(self) -> Aliases:
        """Who is champion and who challenger."""
        return Aliases(**self._read()[0][_ALIASES])

    @property
    def history(self) -> list[dict[str, Any]]:
        """Everything that changed, oldest first."""
        return list(self._read()[0][_HISTORY])

    def load(self, model: str) -> Model:
        """A model by id, or by `champion` or `challenger`.

        Raises:
            ConfigurationError: If there is no such model, or nobody has that role.
            IntegrityError: If its weights are not those that were registered.
        """
        name = self._resolved(model)
        item = self._item(name)
        try:
            weights = storage.read_bytes(self._url(name, WEIGHTS))
        except FileNotFoundError as error:
            raise IntegrityError(f"model {name} is registered, but {error} is gone") from error
        if multihash(weights) != item["assets"]["weights"]["file:checksum"]:
            raise IntegrityError(
                f"the weights of {name} are not those that were registered; restore them, or "
                "roll back to another model"
            )
        return Model(
            id=name,
            detector=Detector.from_bytes(weights),
            item=item,
            digest=_digest(multihash(weights)),
        )

    def digest_of(self, model: str) -> str:
        """Digest of a model's weights as registered, without reading them; args as `load`.

        Raises:
            ConfigurationError: If there is no such model, or nobody has that role.
            IntegrityError: If its Item is gone.
        """
        return _digest(self._item(self._resolved(model))["assets"]["weights"]["file:checksum"])

    def item(self, model: str) -> dict[str, Any]:
        """The STAC Item of a model; args and errors as `digest_of`."""
        return self._item(self._resolved(model))

    @property
    def url(self) -> str:
        """The Collection: models, aliases and history."""
        return self._url("collection.json")

    def item_url(self, model: str) -> str:
        """The STAC Item of a model, by its id."""
        return self._url(model, f"{model}.json")

    def apply(self, decision: Decision, *, by: str, at: datetime) -> Aliases:
        """Give the roles that a decision of the gate asks for, and record it.

        Promoted: champion. In the shadow: challenger. Rejected: neither.

        Raises:
            ConfigurationError: If the challenger is not registered.
            ConflictError: If the decision was taken against another champion than there is now.
            IntegrityError: If a model to be promoted is not whole.
        """
        if decision.outcome is Outcome.PROMOTE:
            self.load(decision.challenger)
        self._resolved(decision.challenger)
        document = self._change(lambda document: _with_decision(document, decision, by, at))
        return Aliases(**document[_ALIASES])

    def rollback(self, *, by: str, reason: str, at: datetime) -> Aliases:
        """Make the champion before this one champion again, and record who wanted it and why.

        Raises:
            ConfigurationError: If there was no champion before.
            IntegrityError: If its weights are not whole.
        """
        self.load(_champions(self._read()[0])[-2:][0])
        document = self._change(lambda document: _rolled_back(document, by, reason, at))
        return Aliases(**document[_ALIASES])

    def _resolved(self, model: str) -> str:
        document = self._read()[0]
        name = document[_ALIASES].get(model, model)
        if name is None:
            raise ConfigurationError(f"no model is {model} yet in {self.root}")
        if name not in [link.get("title") for link in document["links"]]:
            raise ConfigurationError(f"{self.root} has no model {name}")
        return str(name)

    def _item(self, name: str) -> dict[str, Any]:
        url = self.item_url(name)
        try:
            content = storage.read_bytes(url)
        except FileNotFoundError as error:
            raise IntegrityError(f"model {name} is registered, but {error} is gone") from error
        return read_back(content, url, _whole, remedy=_RESTORE_ITEM)

    def _url(self, *parts: str) -> str:
        return "/".join([self.root, *parts])

    def _read(self) -> tuple[dict[str, Any], bytes | None]:
        try:
            content = storage.read_bytes(self.url)
        except FileNotFoundError:
            return _empty(self.name), None
        document = read_back(content, self.url, _registered, remedy=RESTORE)
        if document.get("id") != self.name:
            raise ConfigurationError(
                f"{self.root} holds models of {document.get('id')}, not of {self.name}"
            )
        return document, content

    def _change(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        """Swap the document for its changed self; start anew if another writer was faster."""
        for attempt in range(_ATTEMPTS):
            document, content = self._read()
            changed = change(document)
            try:
                storage.swap_bytes(self.url, _encoded(changed), expected=content)
            except ConflictError:
                time.sleep(random.uniform(0, _PAUSE_S * 2 ** min(attempt, 6)))  # noqa: S311
                continue
            return changed
        raise ConflictError(f"{self.root} was changed by others {_ATTEMPTS} times; retry later")


def _whole(item: dict[str, Any]) -> dict[str, Any]:
    """The Item of a model, if it says which weights are the model's."""
    if not str(item["assets"]["weights"]["file:checksum"]):
        raise ValueError("an empty checksum of its weights")
    return item


def _registered(document: dict[str, Any]) -> dict[str, Any]:
    """The Collection, if it has the members that are read of it."""
    Aliases(**document[_ALIASES])
    for event in document[_HISTORY]:
        itemgetter("event", "model", "at")(event)
    for link in document["links"]:
        itemgetter("rel")(link)
    return document


def _digest(checksum: str) -> str:
    """Short digest of a multihash."""
    return checksum[4:24]


def _empty(name: str) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "description": "Models that find methane plumes in enhancement maps, and who is champion",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [[None, None]]},
        },
        "links": [],
        _ALIASES: {"champion": None, "challenger": None},
        _HISTORY: [],
    }


def _with_model(
    document: dict[str, Any], item: Mapping[str, Any], created: datetime
) -> dict[str, Any]:
    name = item["id"]
    if name in [link.get("title") for link in document["links"]]:
        return document
    href = f"./{name}/{name}.json"
    link = {"rel": "item", "href": href, "type": "application/geo+json", "title": name}
    event = _event("registered", name, by="training", at=created)
    return document | {
        "extent": _extent(document, item),
        "links": [*document["links"], link],
        _HISTORY: [*document[_HISTORY], event],
    }


def _extent(document: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    """Extent of the collection with the Item; the first Item replaces the whole world."""
    ours, stated = item["bbox"], item["properties"]
    interval = [stated["start_datetime"], stated["end_datetime"]]
    if document["links"]:
        there = document["extent"]["spatial"]["bbox"][0]
        then = document["extent"]["temporal"]["interval"][0]
        ours = [*map(min, ours[:2], there[:2]), *map(max, ours[2:], there[2:])]
        interval = [min(interval[0], then[0]), max(interval[1], then[1])]
    return {"spatial": {"bbox": [ours]}, "temporal": {"interval": [interval]}}


def _with_decision(
    document: dict[str, Any], decision: Decision, by: str, at: datetime
) -> dict[str, Any]:
    aliases = dict(document[_ALIASES])
    previous = aliases["champion"]
    if previous != decision.champion:
        raise ConflictError(
            f"{decision.challenger} was judged against {decision.champion}, and the champion is "
            f"{previous}; judge it again"
        )
    if aliases["challenger"] == decision.challenger or decision.outcome is Outcome.PROMOTE:
        aliases["challenger"] = None
    role = {Outcome.PROMOTE: "champion", Outcome.SHADOW: "challenger"}.get(decision.outcome)
    if role is not None:
        aliases[role] = decision.challenger
    event = _event(_DONE[decision.outcome], decision.challenger, by=by, at=at) | {
        "previous": previous,
        "decision": decision.to_json(),
    }
    return document | {_ALIASES: aliases, _HISTORY: [*document[_HISTORY], event]}


_DONE = {
    Outcome.PROMOTE: "promoted",
    Outcome.SHADOW: "put in the shadow",
    Outcome.REJECT: "rejected",
}


def _rolled_back(document: dict[str, Any], by: str, reason: str, at: datetime) -> dict[str, Any]:
    champions = _champions(document)
    event = _event("rolled back", champions[-2], by=by, at=at) | {
        "previous": champions[-1],
        "reason": reason,
    }
    aliases = document[_ALIASES] | {"champion": champions[-2]}
    return document | {_ALIASES: aliases, _HISTORY: [*document[_HISTORY], event]}


def _champions(document: Mapping[str, Any]) -> list[str]:
    """Champions one after the other, those that were rolled back taken out; two at least."""
    champions: list[str] = []
    for event in document[_HISTORY]:
        if event["event"] == "promoted":
            champions.append(event["model"])
        elif event["event"] == "rolled back":
            champions.pop()
    if len(champions) < 2:
        raise ConfigurationError("there was no champion before this one to go back to")
    return champions


def _event(event: str, model: str, *, by: str, at: datetime) -> dict[str, Any]:
    return {"event": event, "model": model, "by": by, "at": at.isoformat(timespec="seconds")}


def _encoded(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
