"""Parts of arrays equal what the HDF5 library reads, for every layout, from few bytes."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.domain.hrefs import Href, SignedHref
from geostack_dagster.errors import AssetError, RejectedCredentialError, ServiceError
from geostack_dagster.stack.reader.ranges import Coalescing
from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy
from geostack_dagster.stack.swath.layout import Opaque
from geostack_dagster.stack.swath.ranged import RangedFile, open_ranged
from tests.stack.swath.conftest import unique

SHAPE = (13, 11, 7)
TIGHT = FetchPolicy(coalescing=Coalescing(gap_bytes=0))
CHUNKS = {"chunks": (5, 4, 7)}
LAYOUTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "contiguous": (unique(SHAPE), {}),
    "big-endian": (unique(SHAPE, ">f4"), {}),
    "double": (unique(SHAPE, "<f8"), {}),
    "bytes": (unique(SHAPE, "i1"), {}),
    "chunked": (unique(SHAPE), CHUNKS),
    "deflated": (unique(SHAPE), {**CHUNKS, "compression": "gzip"}),
    "shuffled": (unique(SHAPE), {**CHUNKS, "compression": "gzip", "shuffle": True}),
    "shuffled only": (unique(SHAPE, ">i2"), {**CHUNKS, "shuffle": True}),
    "checked": (unique(SHAPE), {**CHUNKS, "compression": "gzip", "fletcher32": True}),
    "checked only": (unique(SHAPE, "<i8"), {**CHUNKS, "fletcher32": True}),
    "lzf": (unique(SHAPE), {**CHUNKS, "compression": "lzf", "shuffle": True}),
    "lzf of noise": (
        np.random.default_rng(1).random(SHAPE),
        {**CHUNKS, "compression": "lzf"},
    ),
    "single chunk": (unique(SHAPE), {"chunks": SHAPE, "compression": "gzip"}),
    "scale-offset": (unique(SHAPE, "<i4"), {**CHUNKS, "scaleoffset": 20}),
    "one line": (unique((1, 11, 7)), {}),
}
WINDOWS = [
    None,
    ((0, 13), (3, 5), (0, 7)),
    ((0, 13), (0, 11), (2, 4)),
    ((4, 9), (10, 11), (6, 7)),
    ((12, 13), (0, 11), (0, 7)),
    ((0, 0), (0, 11), (0, 7)),
]


def opened(path: Path, policy: FetchPolicy = TIGHT) -> RangedFile:
    return open_ranged(ByteSource(policy=policy), Href(path.as_uri()))


def by_library(path: Path, name: str, window: Any) -> np.ndarray:
    with h5py.File(path) as file:
        return file[name][()] if window is None else file[name][tuple(slice(*s) for s in window)]


@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_reads_as_the_library_does(hdf, layout, userblock):
    data, options = LAYOUTS[layout]
    path = hdf(userblock=userblock, group__radiance=(data, options))
    file = opened(path)
    for asked in WINDOWS:
        window = asked and tuple(
            (min(a, n), min(b, n)) for (a, b), n in zip(asked, data.shape, strict=True)
        )
        found = file.read("group/radiance", window)
        expected = by_library(path, "group/radiance", window)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    assert bool(file.notes) == (layout == "scale-offset")


@given(data=st.data())
@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_any_window_of_any_array(hdf, data):
    shape = tuple(data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4)))
    chunks = tuple(data.draw(st.integers(1, size)) for size in shape)
    path = hdf(
        flat=unique(shape, data.draw(st.sampled_from(["<f4", ">f8", "<i2", "u1"]))),
        cut=(unique(shape), {"chunks": chunks, "compression": "gzip", "shuffle": True}),
    )
    window = tuple(
        tuple(sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size)))))
        for size in shape
    )
    file = opened(path, FetchPolicy(coalescing=Coalescing(gap_bytes=data.draw(st.integers(0, 99)))))
    for name in ("flat", "cut"):
        np.testing.assert_array_equal(file.read(name, window), by_library(path, name, window))


def test_what_was_never_written_is_fill(tmp_path):
    path = tmp_path / "sparse.nc"
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("flat", SHAPE, "<f4", fillvalue=-9999)
        cut = file.create_dataset("cut", SHAPE, "<i2", fillvalue=-1, compression="gzip", **CHUNKS)
        cut[5:10, 0:4] = unique((5, 4, 7), "<i2")
        file.create_dataset("nothing", (0, 3), "<f4")
    source = open_ranged(ByteSource(), Href(path.as_uri()))
    np.testing.assert_array_equal(source.read("flat"), np.full(SHAPE, -9999, "<f4"))
    np.testing.assert_array_equal(source.read("cut"), by_library(path, "cut", None))
    assert source.read("nothing").shape == (0, 3)


def test_small_and_odd_arrays_are_read_too(tmp_path):
    path = tmp_path / "odd.nc"
    with h5py.File(path, "w") as file:
        file.create_dataset("text", data=["To-sun zenith", "µ"], dtype=h5py.string_dtype())
        file.create_dataset("fixed", data=np.array([b"a", b"bc"]))
        file.create_dataset("scalar", data=2.5)
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((4,))
        h5py.h5d.create(file.id, b"compact", h5py.h5t.IEEE_F32LE, space, dcpl=plist)
        file["compact"][:] = 5
        file.attrs["title"], file.attrs["count"] = "EMIT", 3
        file.attrs["geotransform"] = [1.0, 2.0]
        file.attrs.create("old", np.bytes_("text"))
    source = opened(path)
    assert source.read("text").tolist() == ["To-sun zenith", "µ"]
    assert source.read("fixed").tolist() == ["a", "bc"]
    assert source.read("scalar") == 2.5
    assert source.read("compact").tolist() == [5, 5, 5, 5]
    assert source.attrs == {
        "title": "EMIT",
        "count": 3,
        "geotransform": [1.0, 2.0],
        "old": "text",
    }
    assert "compact was read by the HDF5 library" in source.notes[0]


def test_a_reader_travels_as_plain_values(hdf):
    path = hdf(a=unique((5, 6)), k=(unique((5, 6)), {"chunks": (2, 3)}))
    there = pickle.loads(pickle.dumps(opened(path)))
    np.testing.assert_array_equal(there.read("k", ((1, 4), (2, 5))), unique((5, 6))[1:4, 2:5])


# Bytes -------------------------------------------------------------------------------------------

LINES, COLUMNS, BANDS = 120, 150, 32


@pytest.fixture(scope="module")
def scenes(running_server):
    """A cube of radiance like EMIT's, one contiguous piece, and the same in chunks; 2.3 MB each."""
    data = unique((LINES, COLUMNS, BANDS))
    with h5py.File(running_server.folder / "flat.nc", "w") as file:
        file["radiance"] = data
        file["location/lon"] = unique((LINES, COLUMNS), "<f8")
    with h5py.File(running_server.folder / "cut.nc", "w") as file:
        file.create_dataset("radiance", data=data, chunks=(40, 30, BANDS), compression="gzip")
    return data


@pytest.mark.parametrize("transport", ["obstore", "fsspec"])
@pytest.mark.parametrize("name", ["flat.nc", "cut.nc"])
def test_bytes_stay_near_what_is_needed(scenes, server, transport, name):
    source = ByteSource(
        transport=transport, policy=FetchPolicy(coalescing=Coalescing(gap_bytes=4096))
    )
    file = open_ranged(source, server.href(name))
    header = server.bytes
    assert header <= 3 * 256 * 1024  # blocks of the metadata, which lies at both ends
    window = ((0, LINES), (60, 90), (0, BANDS))
    np.testing.assert_array_equal(file.read("radiance", window), scenes[:, 60:90])
    needed = (
        LINES * 30 * BANDS * 4
        if name == "flat.nc"
        else sum(
            stored.size
            for corner, stored in file.arrays["radiance"].storage.chunks.items()
            if corner[1] == 60
        )
    )
    assert server.bytes - header <= 1.02 * needed
    assert file.bytes_read == server.bytes
    file.close()


def test_a_few_bands_cost_their_columns_not_the_file(scenes, server):
    """Bands of a pixel lie together: holes of a hundred bytes are read over, not jumped."""
    file = open_ranged(ByteSource(), server.href("flat.nc"))
    header = server.bytes
    window = ((10, 20), (50, 100), (5, 9))
    np.testing.assert_array_equal(file.read("radiance", window), scenes[10:20, 50:100, 5:9])
    assert server.bytes - header < 10 * COLUMNS * BANDS * 4
    file.close()


# Faults ------------------------------------------------------------------------------------------


class Tokens:
    """Signs with tokens that live for some requests only."""

    def __init__(self, server, lifetime: int) -> None:
        self.issued, self.used, self.lifetime = 1, 0, lifetime
        server.rule = self.judge

    def judge(self, seen):
        from tests.stack.reader.conftest import Fault

        self.used += 1
        if seen.headers.get("authorization") != f"Bearer {self.issued}":
            return Fault(401, b'{"error": "expired"}')
        if self.used > self.lifetime:
            self.used, self.issued = 0, self.issued + 1
            return Fault(401, b'{"error": "expired"}')
        return None

    def scope(self, href: Href) -> str:
        return "urs"

    def credential(self, href: Href) -> Credential:
        return Credential({"access_token": str(self.issued)}, None, "a test")

    def sign(self, href: Href) -> SignedRequest:
        credential = self.credential(href)
        header = {"Authorization": f"Bearer {credential.values['access_token']}"}
        return SignedRequest(SignedHref(href), header, credential=credential)

    def forget(self, href: Href, refused: SignedRequest) -> bool:
        return refused.credential is not None and refused.credential.values["access_token"] != str(
            self.issued
        )


def test_tokens_that_die_in_the_middle_are_renewed(scenes, server):
    signer = Tokens(server, lifetime=25)
    policy = FetchPolicy(in_flight=4, coalescing=Coalescing(gap_bytes=4096))
    source = ByteSource(signer, policy=policy)
    file = open_ranged(source, server.href("flat.nc"))
    window = ((0, LINES), (0, 75), (0, BANDS))
    np.testing.assert_array_equal(file.read("radiance", window), scenes[:, :75])
    np.testing.assert_array_equal(file.read("location/lon"), unique((LINES, COLUMNS), "<f8"))
    file.close()
    assert source.traffic.renewals >= 5


def test_a_refused_token_is_said(scenes, server, fault):
    server.rule = lambda seen: fault(401, b"no")

    class Dead(Tokens):
        def forget(self, href, refused):
            return False

    signer = Dead(server, lifetime=10**9)
    server.rule = lambda seen: fault(401, b"no")
    with pytest.raises(RejectedCredentialError, match="a test"):
        open_ranged(ByteSource(signer), server.href("flat.nc"))


def test_a_truncated_file_is_named(hdf, tmp_path):
    whole = hdf(radiance=unique((40, 50, 60)))
    cut = tmp_path / "cut.nc"
    cut.write_bytes(whole.read_bytes()[: 40 * 50 * 60 * 2])
    with pytest.raises(AssetError, match=r"cut\.nc"):
        opened(cut).read("radiance")


def test_damage_inside_a_chunk_is_named(hdf):
    path = hdf(
        checked=(unique((40, 50)), {"chunks": (40, 50), "fletcher32": True}),
        deflated=(unique((40, 50)), {"chunks": (40, 50), "compression": "gzip"}),
    )
    file = opened(path)
    raw = bytearray(path.read_bytes())
    for name in ("checked", "deflated"):
        (stored,) = file.arrays[name].storage.chunks.values()
        raw[stored.offset + stored.size // 2] ^= 0xFF
    path.write_bytes(raw)
    for name, said in (("checked", "checksum"), ("deflated", "does not decode")):
        with pytest.raises(AssetError, match=said):
            opened(path).read(name)


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"", b"\x89HDF\r\n\x1a\n short"])
def test_what_is_no_hdf5_is_named(tmp_path, body):
    path = tmp_path / "login.nc"
    path.write_bytes(body * 3)
    with pytest.raises(AssetError, match=r"login\.nc"):
        opened(path)


def test_a_missing_array_names_what_is_there(hdf):
    file = opened(hdf(radiance=unique((2, 3, 4))))
    with pytest.raises(AssetError, match="no array 'reflectance'; it has radiance"):
        file.read("reflectance")


def test_a_busy_server_is_asked_again_and_then_given_up(scenes, server, fault):
    server.rule = lambda seen: fault(503) if len(server.seen) % 3 == 0 else None
    patient = ByteSource(policy=FetchPolicy(backoff_s=0.001))
    file = open_ranged(patient, server.href("flat.nc"))
    np.testing.assert_array_equal(
        file.read("radiance", ((0, 9), (0, 9), (0, 9))), scenes[:9, :9, :9]
    )
    server.rule = lambda seen: fault(503)
    with pytest.raises(ServiceError, match=r"flat\.nc"):
        file.read("location/lon")
    file.close()


def test_filters_of_others_are_left_to_the_library(hdf):
    file = opened(hdf(a=(unique((5, 6), "<i4"), {"chunks": (5, 6), "scaleoffset": 8})))
    assert isinstance(file.arrays["a"].storage, Opaque)
    assert "filter 6" in file.arrays["a"].storage.reason
