"""The learning loop on real object stores: roles, labels, training sets, checkpoints."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from geostack_dagster import storage
from geostack_dagster.errors import ConflictError
from geostack_dagster.learning.chip_index import read_index, write_index
from geostack_dagster.learning.chips import Chip
from geostack_dagster.learning.gate import Outcome
from geostack_dagster.learning.registry import Registry
from geostack_dagster.learning.samples import assemble
from geostack_dagster.learning.splits import Split
from geostack_dagster.learning.train import fit
from geostack_dagster.pipeline.labels import add_labels, label_log, stored_labels
from geostack_dagster.pipeline.learning import beside
from geostack_dagster.pipeline.learning.documents import find_document, write_document
from geostack_dagster.pipeline.workspace import Workspace
from tests.learning.test_registry import NOW, card, decision
from tests.learning.test_train import TINY, PowerCutError, cut_at
from tests.learning.world import World
from tests.pipeline.learning.sites import Site, loop_in, review

pytestmark = pytest.mark.services

WRITERS = 6


@pytest.fixture(params=["s3_url", "az_url"])
def place(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def world() -> World:
    return World(6)


@pytest.fixture(scope="module")
def chips(world: World) -> list[Chip]:
    return world.chips(world.scenes)


def test_no_model_is_lost_and_one_of_many_promotions_wins(place: str):
    registry = Registry(f"{place}/models")
    with ThreadPoolExecutor(WRITERS) as pool:
        names = list(pool.map(lambda seed: registry.add(card(seed), NOW), range(WRITERS)))
    assert set(registry.models) == set(names)
    assert len(registry.history) == WRITERS

    def promote(name: str) -> bool:
        try:
            registry.apply(decision(name, None), by="gate", at=NOW)
        except ConflictError:  # judged against another champion than there is by now
            return False
        return True

    with ThreadPoolExecutor(WRITERS) as pool:
        won = list(pool.map(promote, names))
    (champion,) = [name for name, is_champion in zip(names, won, strict=True) if is_champion]
    assert registry.aliases.champion == champion
    model = registry.load("champion")
    assert model.detector.to_bytes() == card(names.index(champion)).detector.to_bytes()

    other = next(name for name in names if name != champion)
    registry.apply(decision(other, champion, Outcome.SHADOW), by="gate", at=NOW)
    assert registry.aliases.challenger == other
    registry.apply(decision(other, champion), by="gate", at=NOW)
    assert registry.rollback(by="ada", reason="test", at=NOW).champion == champion


def test_no_label_is_lost(place: str):
    workspace = Workspace(f"{place}/storage")
    labels = [review(workspace, Site(number, Split.TRAIN)) for number in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        added = list(
            pool.map(
                lambda one: add_labels(workspace, [one], source="review", reviewer="ada"), labels
            )
        )
    assert None not in added
    assert len(label_log(workspace)) == WRITERS
    assert set(stored_labels(workspace).labels) == set(labels)


def test_sets_documents_and_pictures_come_back_as_they_were(place: str, chips: list[Chip]):
    loop = loop_in(f"{place}/storage")
    url = loop.url("sets", "a.parquet")
    write_index(url, chips)
    assert read_index(url) == sorted(chips, key=lambda one: one.id)
    assert find_document(loop.url("challenger.json")) is None
    write_document(loop.url("challenger.json"), {"model": "x"})
    assert find_document(loop.url("challenger.json")) == {"model": "x"}
    assert beside.kept_picture(loop, "x", None) == {}
    beside.keep_picture(loop, "x", None, b"png")
    assert beside.kept_picture(loop, "x", None) == {"before_after": b"png"}


def test_a_training_goes_on_from_its_checkpoint(place: str, world: World):
    """Interrupted and resumed, it ends in the weights of one that was not."""
    samples = assemble(world.chips(world.scenes[:4]), world)
    checkpoint = f"{place}/storage/model.ckpt"
    with pytest.raises(PowerCutError):
        fit(samples, TINY, checkpoint=checkpoint, progress=cut_at(7))
    assert storage.exists(checkpoint)
    resumed = fit(samples, TINY, checkpoint=checkpoint)
    assert resumed.resumed_at == TINY.checkpoint_every
    whole = fit(samples, TINY)
    assert resumed.detector.to_bytes() == whole.detector.to_bytes()
    assert resumed.losses.tobytes() == whole.losses.tobytes()
