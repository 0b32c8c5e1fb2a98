from geostack_dagster.domain.days import Cadence, Window
from geostack_dagster.domain.partition import Layout, Partition

PARTITION = Partition("pc_s2", "lake", "2024-06-01", Cadence.MONTHLY)


def test_a_partition_knows_its_window_and_name():
    assert PARTITION.window == Window.of("2024-06-01", Cadence.MONTHLY)
    assert str(PARTITION) == "pc_s2/lake/2024-06-01"


def test_no_two_artefacts_share_a_place():
    layout = Layout("s3://bucket/root")
    others = [
        Partition("es_s2", "lake", "2024-06-01"),
        Partition("pc_s2", "hill", "2024-06-01"),
        Partition("pc_s2", "lake", "2024-06-02"),
    ]
    places = [
        place(partition)
        for partition in (PARTITION, *others)
        for place in (layout.snapshot, layout.recipe, lambda p: layout.published(p, "ndvi"))
    ]
    assert len(set(places)) == len(places)
    assert all(place.startswith("s3://bucket/root/") for place in places)
    assert layout.cube("pc_s2", "lake") != layout.cube("pc_s2", "hill")
