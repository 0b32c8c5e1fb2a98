"""The registry: nothing is lost, nothing is half there, and there is a way back."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pystac
import pytest
from pystac.extensions.mlm import MLMExtension
from pystac.validation import JsonSchemaSTACValidator

from geostack_dagster import storage
from geostack_dagster.errors import ConfigurationError, ConflictError, IntegrityError
from geostack_dagster.inference.detector import Architecture, Detector
from geostack_dagster.learning.gate import Check, Decision, Outcome
from geostack_dagster.learning.model_card import Coverage, ModelCard, code_digest, semantic
from geostack_dagster.learning.registry import Aliases, Registry
from geostack_dagster.learning.samples import assemble
from geostack_dagster.learning.train import fit
from tests.learning.test_train import TINY
from tests.stac_extensions import faults

NOW = datetime(2024, 8, 1, 12, tzinfo=UTC)
COVERAGE = Coverage(bbox=(-120.0, 30.0, -100.0, 40.0), first=NOW - timedelta(days=60), last=NOW)


def card(seed=0, **changes):
    settings = {
        "name": "plume-detector",
        "detector": Detector.untrained(Architecture(width=1, depth=1), seed=seed),
        "hyperparameters": {"seed": seed, "steps": 12},
        "data": "d" * 20,
        "code": "c" * 20,
        "coverage": COVERAGE,
        "derived_from": ("s3://bucket/chips.parquet",),
        "facts": {"loss": 0.1},
    }
    return ModelCard(**(settings | changes))


def decision(challenger, champion, outcome=Outcome.PROMOTE):
    check = Check(name="c", passed=outcome is Outcome.PROMOTE, found="f", otherwise=outcome)
    return Decision(challenger=challenger, champion=champion, checks=(check,))


@pytest.fixture(params=["path", "s3"])
def registry(request, tmp_path):
    if request.param == "s3":
        request.getfixturevalue("bucket")
        return Registry("s3://bucket/models")
    return Registry(f"{tmp_path}/models")


@pytest.fixture
def local(tmp_path):
    return Registry(f"{tmp_path}/models")


def promote(registry, name):
    judged = decision(name, registry.aliases.champion)
    return registry.apply(judged, by="gate", at=NOW)


def test_a_card_keeps_to_the_model_extension():
    item = card().to_item(b"weights", NOW)
    assert faults(item) == []
    item["properties"]["mlm:framework_version"] = "0.12.0.1"
    assert len(faults(item)) == 1


@pytest.mark.parametrize(
    ("python", "semver"),
    [
        ("0.12.0", "0.12.0"),
        ("0.12.0.1", "0.12.0+1"),
        ("0.13", "0.13.0"),
        ("1", "1.0.0"),
        ("0.12.0rc1", "0.12.0+rc1"),
        ("0.12.1.dev20261129+ab3", "0.12.1+dev20261129.ab3"),
    ],
)
def test_versions_become_semantic(python, semver):
    assert semantic(python) == semver


def test_an_empty_registry_says_that_it_is_empty(registry):
    assert registry.models == ()
    assert registry.aliases == Aliases(champion=None, challenger=None)
    with pytest.raises(ConfigurationError, match="no model is champion yet"):
        registry.load("champion")
    with pytest.raises(ConfigurationError, match="has no model x"):
        registry.load("x")
    with pytest.raises(ConfigurationError, match="no champion before"):
        registry.rollback(by="Ada", reason="none", at=NOW)


def test_what_is_registered_is_loaded(registry):
    one = card()
    name = registry.add(one, NOW)
    assert registry.models == (name,)
    model = registry.load(name)
    assert model.detector.to_bytes() == one.detector.to_bytes()
    assert model.item["properties"]["geostack:data"] == "d" * 20
    assert len(model.digest) == 20
    other = registry.load(registry.add(card(seed=1), NOW))
    assert other.digest != model.digest


def test_the_same_training_is_the_same_model(registry):
    name = registry.add(card(), NOW)
    before = registry.history
    later = card(facts={"loss": 0.2, "seconds": 99}, derived_from=())
    assert registry.add(later, NOW + timedelta(days=1)) == name
    assert registry.history == before
    assert registry.load(name).item["properties"]["geostack:loss"] == 0.1


@pytest.mark.parametrize("change", [{"data": "x"}, {"code": "x"}, {"hyperparameters": {"seed": 9}}])
def test_what_decides_the_weights_decides_the_id(change):
    assert card(**change).id != card().id


def test_roles_change_hands_and_come_back(registry):
    first, second, third = (registry.add(card(seed=seed), NOW) for seed in range(3))
    assert promote(registry, first) == Aliases(champion=first, challenger=None)
    shadow = decision(second, first, Outcome.SHADOW)
    assert registry.apply(shadow, by="gate", at=NOW).challenger == second
    rejected = decision(third, first, Outcome.REJECT)
    assert registry.apply(rejected, by="gate", at=NOW) == Aliases(champion=first, challenger=second)
    assert promote(registry, second) == Aliases(champion=second, challenger=None)
    assert registry.load("champion").id == second
    back = registry.rollback(by="Ada", reason="false alarms in Turkmenistan", at=NOW)
    assert back.champion == first
    with pytest.raises(ConfigurationError, match="no champion before"):
        registry.rollback(by="Ada", reason="again", at=NOW)
    promote(registry, third)
    assert registry.rollback(by="Ada", reason="again", at=NOW).champion == first
    events = [(one["event"], one["model"]) for one in registry.history]
    assert events == [
        ("registered", first),
        ("registered", second),
        ("registered", third),
        ("promoted", first),
        ("put in the shadow", second),
        ("rejected", third),
        ("promoted", second),
        ("rolled back", first),
        ("promoted", third),
        ("rolled back", first),
    ]
    assert registry.history[7]["reason"] == "false alarms in Turkmenistan"
    assert registry.history[7]["previous"] == second


def test_a_persons_decision_is_on_record(local):
    name = local.add(card(), NOW)
    doubted = decision(name, None, Outcome.REJECT)
    final = doubted.overridden(Outcome.PROMOTE, person="Ada", reason="a drill", decided=NOW)
    assert local.apply(final, by="Ada", at=NOW).champion == name
    kept = Decision.of_json(local.history[-1]["decision"])
    assert kept == final
    assert kept.verdict is Outcome.REJECT


def test_a_decision_against_another_champion_is_out_of_date(local):
    first, second, third = (local.add(card(seed=seed), NOW) for seed in range(3))
    stale = decision(third, first)
    promote(local, first)
    promote(local, second)
    with pytest.raises(ConflictError, match="judge it again"):
        local.apply(stale, by="gate", at=NOW)
    assert local.aliases.champion == second


def test_altered_weights_are_never_loaded_nor_promoted(registry):
    first, second = (registry.add(card(seed=seed), NOW) for seed in range(2))
    promote(registry, first)
    url = f"{registry.root}/{second}/weights.eqx"
    weights = bytearray(storage.read_bytes(url))
    weights[-1] ^= 1
    storage.write_bytes(url, bytes(weights))
    with pytest.raises(IntegrityError, match="not those that were registered"):
        registry.load(second)
    with pytest.raises(IntegrityError):
        promote(registry, second)
    assert registry.aliases.champion == first
    storage.delete(url)
    with pytest.raises(IntegrityError, match="is gone"):
        registry.load(second)


def test_there_is_no_way_back_to_a_broken_model(local):
    first, second = (local.add(card(seed=seed), NOW) for seed in range(2))
    promote(local, first)
    promote(local, second)
    storage.write_bytes(f"{local.root}/{first}/weights.eqx", b"rust")
    with pytest.raises(IntegrityError, match="not those that were registered"):
        local.rollback(by="Ada", reason="needed", at=NOW)
    assert local.aliases.champion == second


@pytest.mark.parametrize("registry", ["path", "s3"], indirect=True)
def test_writers_at_the_same_time_lose_nothing(registry):
    with ThreadPoolExecutor(6) as pool:
        names = list(pool.map(lambda seed: registry.add(card(seed=seed), NOW), range(6)))

    def run_for_champion(name):
        while True:
            try:
                return promote(registry, name)
            except ConflictError:
                continue

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run_for_champion, names))
    assert set(registry.models) == set(names)
    promotions = [one for one in registry.history if one["event"] == "promoted"]
    assert {one["model"] for one in promotions} == set(names)
    chain = [None, *(one["model"] for one in promotions)]
    assert [one["previous"] for one in promotions] == chain[:-1]
    assert registry.aliases.champion == chain[-1]


class PowerCutError(BaseException):
    """The machine goes away: nothing catches it."""


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_what_dies_on_the_way_leaves_the_old_state(local, monkeypatch, writes):
    first = local.add(card(), NOW)
    promote(local, first)
    before = storage.read_bytes(f"{local.root}/collection.json")
    left = iter(range(writes))

    def dying(write):
        def call(*arguments, **named):
            if next(left, None) is None:
                raise PowerCutError
            write(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", dying(storage.write_bytes))
        patch.setattr(storage, "swap_bytes", dying(storage.swap_bytes))
        with pytest.raises(PowerCutError):
            local.add(card(seed=7), NOW)
    assert storage.read_bytes(f"{local.root}/collection.json") == before
    name = local.add(card(seed=7), NOW)  # what was left behind is in nobody's way
    assert local.load(name).id == name
    assert local.models == (first, name)


def test_items_and_collection_are_stac(local):
    name = local.add(card(), NOW)
    local.add(card(seed=1, coverage=dataclasses.replace(COVERAGE, bbox=(5, 6, 7, 8))), NOW)
    document = json.loads(storage.read_bytes(f"{local.root}/collection.json"))
    validator = JsonSchemaSTACValidator()
    validator.validate_core(document, pystac.STACObjectType.COLLECTION, "1.1.0")
    assert document["extent"]["spatial"]["bbox"] == [[-120.0, 6, 7, 40.0]]
    collection = pystac.Collection.from_file(f"{local.root}/collection.json")
    items = list(collection.get_items())
    assert len(items) == 2
    item = next(one for one in items if one.id == name)
    validator.validate_core(item.to_dict(), pystac.STACObjectType.ITEM, "1.1.0")
    model = MLMExtension.ext(item)
    assert model.mlm_name == "plume-detector"
    assert model.total_parameters == Detector.untrained(Architecture(width=1, depth=1)).parameters
    assert model.input[0].input.shape == [-1, 4, -1, -1]
    assert model.output[0].result.data_type == "float32"
    asset = item.assets["weights"]
    assert "mlm:model" in asset.roles
    weights = storage.read_bytes(asset.get_absolute_href())
    assert asset.extra_fields["file:size"] == len(weights)
    assert item.get_single_link("derived_from").target == "s3://bucket/chips.parquet"


def test_a_signed_href_is_never_published(local):
    signed = "https://a.blob.core.windows.net/c/x.parquet?sv=1&sig=" + "A" * 44
    with pytest.raises(IntegrityError, match="canonical hrefs"):
        local.add(card(derived_from=(signed,)), NOW)
    assert local.models == ()


def test_a_spoiled_collection_is_not_taken_for_an_empty_one(local):
    local.add(card(), NOW)
    url = f"{local.root}/collection.json"
    storage.write_bytes(url, storage.read_bytes(url)[:-40])
    with pytest.raises(IntegrityError, match="names every model"):
        local.add(card(seed=1), NOW)
    for content in (b"[]", b"{}", b'{"links": [], "geostack:aliases": {}, "geostack:history": []}'):
        storage.write_bytes(url, content)
        with pytest.raises(IntegrityError, match="names every model"):
            _ = local.aliases


@pytest.mark.parametrize("spoil", [lambda raw: raw[:-200], lambda raw: b"{}", lambda raw: b"[1]"])
def test_a_model_whose_item_is_cut_off_is_named(local, spoil):
    first = local.add(card(), NOW)
    second = local.add(card(seed=1), NOW)
    promote(local, first)
    url = local.item_url(second)
    storage.write_bytes(url, spoil(storage.read_bytes(url)))
    for look in (local.load, local.digest_of, lambda name: promote(local, name)):
        with pytest.raises(IntegrityError, match=rf"(?s){second}\.json is damaged .*; restore it"):
            look(second)
    assert local.aliases.champion == first
    assert local.load("champion").id == first


def test_families_do_not_mix(local):
    local.add(card(), NOW)
    with pytest.raises(ConfigurationError, match="does not belong"):
        local.add(card(name="cloud-detector"), NOW)
    with pytest.raises(ConfigurationError, match="holds models of plume-detector"):
        _ = Registry(local.root, name="cloud-detector").models


def test_the_card_of_a_training_tells_where_it_comes_from(world, local):
    chips = world.chips(world.scenes[:4])
    samples = assemble(chips, world)
    trained = fit(samples, TINY)
    one = ModelCard.of(trained, trained.detector, chips, derived_from=["file:///chips.parquet"])
    again = fit(samples, TINY)
    assert ModelCard.of(again, again.detector, chips).id == one.id
    item = local.load(local.add(one, NOW)).item["properties"]
    assert item["geostack:data"] == samples.digest
    assert item["geostack:code"] == code_digest()
    assert item["mlm:hyperparameters"]["steps"] == TINY.steps
    assert item["start_datetime"] == "2024-06-01T00:00:00Z"
    with pytest.raises(ConfigurationError, match="covers nothing"):
        ModelCard.of(trained, trained.detector, [])
