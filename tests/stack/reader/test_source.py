"""One contract for both transports: right bytes, or an error that says what to do."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from geostack_dagster.auth.signer import Credential, SignedRequest
from geostack_dagster.auth.sigv4 import S3Keys, signed_headers
from geostack_dagster.domain.hrefs import Href, SignedHref
from geostack_dagster.errors import (
    AssetError,
    ConfigurationError,
    MissingCredentialError,
    RejectedCredentialError,
    ServiceError,
)
from geostack_dagster.stack.reader.loop import background_loop, wait
from geostack_dagster.stack.reader.ranges import Coalescing
from geostack_dagster.stack.reader.refusal import StaleError
from geostack_dagster.stack.reader.source import ByteSource, FetchPolicy

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SECRET = "sv=2024&sig=c2VjcmV0c2VjcmV0c2VjcmV0"
PATIENT = FetchPolicy(backoff_s=0.01, attempts=3)


@dataclass
class TokenSigner:
    """Tokens by number: `forget` makes the next one, as often as it is allowed."""

    renewals_left: int = 1
    token: int = 0
    delay_s: float = 0.0
    header: bool = False
    signed: list[str] = field(default_factory=list)

    def scope(self, href: Href) -> str:
        return "account/container"

    def sign(self, href: Href) -> SignedRequest:
        time.sleep(self.delay_s)
        self.signed.append(threading.current_thread().name)
        credential = self.credential(href)
        if self.header:
            bearer = {"Authorization": f"Bearer token-{self.token}"}
            return SignedRequest(SignedHref(href), bearer, credential)
        return SignedRequest(SignedHref(f"{href}?{SECRET}{self.token}"), credential=credential)

    def credential(self, href: Href) -> Credential:
        return Credential(values={"token": SECRET}, expires_at=None, source="THE_VARIABLE")

    def forget(self, href: Href, refused: SignedRequest) -> bool:
        if self.renewals_left == 0:
            return False
        self.renewals_left -= 1
        self.token += 1
        return True


@pytest.fixture(scope="module", autouse=True)
def content(running_server):
    (running_server.folder / "data.bin").write_bytes(CONTENT)
    (running_server.folder / "a b").mkdir(exist_ok=True)
    (running_server.folder / "a b" / "c%20d+e.bin").write_bytes(CONTENT[:1000])


@pytest.fixture(params=["obstore", "fsspec"])
def source(request):
    made = []

    def make(signer=None, **policy):
        built = ByteSource(
            signer,
            transport=request.param,
            policy=FetchPolicy(**{"backoff_s": 0.01, "attempts": 3, **policy}),
        )
        made.append(built)
        return built

    yield make
    for built in made:
        wait(built.close())


def test_ranges_come_back_in_the_order_asked(server, source):
    starts, stops = [500_000, 0, 70, 1_048_000], [500_010, 50, 100, 1_048_576]
    found = wait(source().ranges(server.href("data.bin"), starts, stops))
    assert [bytes(part) for part in found] == [
        CONTENT[start:stop] for start, stop in zip(starts, stops, strict=True)
    ]
    assert len(server.seen) == 3  # the two neighbours travelled together


def test_no_ranges_are_no_request(server, source):
    assert wait(source().ranges(server.href("data.bin"), [], [])) == []
    assert server.seen == []


def test_opening_tells_size_and_tag(server, source):
    found = wait(source().opening(server.href("data.bin"), 100))
    assert (bytes(found.data), found.size) == (CONTENT[:100], len(CONTENT))
    assert found.etag is not None
    part = wait(source().ranges(server.href("data.bin"), [5], [9], etag=found.etag))
    assert bytes(part[0]) == CONTENT[5:9]


def test_a_weak_tag_is_none(server, source, fault):
    """It says that two versions mean the same, and never matches a condition (RFC 9110)."""
    place = {"Content-Range": f"bytes 0-99/{len(CONTENT)}", "ETag": 'W/"about-the-same"'}
    server.rule = lambda seen: fault(206, CONTENT[:100], place)
    assert wait(source().opening(server.href("data.bin"), 100)).etag is None


def test_a_file_smaller_than_its_opening_comes_whole(server, source):
    (server.folder / "small.bin").write_bytes(b"abc")
    assert bytes(wait(source().opening(server.href("small.bin"), 32768)).data) == b"abc"


def test_odd_paths_arrive_as_they_are(server, source):
    href = Href(server.href("a%20b/c%2520d+e.bin"))
    assert bytes(wait(source().opening(href, 10)).data) == CONTENT[:10]


def test_a_changed_file_is_stale(server, source):
    with pytest.raises(StaleError, match="has changed"):
        wait(source().ranges(server.href("data.bin"), [0], [10], etag='"another"'))


def test_a_range_beyond_the_end_is_stale(server, source):
    with pytest.raises(StaleError, match="ends before"):
        wait(source().ranges(server.href("data.bin"), [len(CONTENT) - 5], [len(CONTENT) + 5]))
    with pytest.raises(StaleError, match="ends before"):
        wait(source().ranges(server.href("data.bin"), [2_000_000], [2_000_005]))


def test_a_missing_file_is_an_asset_error(server, source):
    with pytest.raises(AssetError, match="does not exist"):
        wait(source().opening(server.href("absent.bin"), 10))


@pytest.mark.parametrize("status", [401, 403, 409])
def test_a_refused_credential_is_renewed_once(server, source, fault, status):
    signer = TokenSigner()
    server.rule = lambda seen: None if seen.query.endswith("1") else fault(status)
    found = wait(source(signer).ranges(server.href("data.bin"), [3], [7]))
    assert bytes(found[0]) == CONTENT[3:7]
    assert signer.token == 1


def test_an_expired_token_is_400_on_s3(server, source, fault):
    signer = TokenSigner(header=True)
    expired = fault(400, b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>")
    server.rule = lambda seen: None if seen.headers["authorization"].endswith("1") else expired
    found = wait(source(signer).ranges(server.href("data.bin"), [3], [7]))
    assert bytes(found[0]) == CONTENT[3:7]


def test_another_400_is_not_a_credential(server, source, fault):
    server.rule = lambda seen: fault(400, b"<Error><Code>InvalidArgument</Code></Error>")
    signer = TokenSigner()
    with pytest.raises(AssetError, match="400 InvalidArgument"):
        wait(source(signer).ranges(server.href("data.bin"), [3], [7]))
    assert signer.token == 0


@pytest.mark.parametrize("renewals", [0, 5])
def test_a_credential_refused_for_good_names_its_source_only(server, source, fault, renewals):
    server.rule = lambda seen: fault(403, b"<Error><Code>AuthenticationFailed</Code></Error>")
    with pytest.raises(RejectedCredentialError, match="THE_VARIABLE") as caught:
        wait(source(TokenSigner(renewals_left=renewals)).ranges(server.href("data.bin"), [0], [9]))
    assert "403 AuthenticationFailed" in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert "c2VjcmV0" not in repr(error)
        assert "c2VjcmV0" not in str(error)
        error = error.__cause__ or error.__context__


def test_a_refused_unsigned_read_lacks_a_credential(server, source, fault):
    server.rule = lambda seen: fault(409, b"<Error><Code>PublicAccessNotPermitted</Code></Error>")
    with pytest.raises(MissingCredentialError, match="409 PublicAccessNotPermitted"):
        wait(source().ranges(server.href("data.bin"), [0], [9]))


def test_a_login_page_is_a_refused_credential(server, source, fault):
    page = b"<html><form action='/oauth/authorize'><input type=\"password\"></form></html>"
    server.rule = lambda seen: fault(200, page, {"Content-Type": "text/html; charset=utf-8"})
    with pytest.raises(RejectedCredentialError, match="a login page"):
        wait(source(TokenSigner()).ranges(server.href("data.bin"), [0], [9]))


def test_another_web_page_is_an_asset_error(server, source, fault):
    page = b"<html>This dataset is down for maintenance</html>"
    server.rule = lambda seen: fault(200, page, {"Content-Type": "text/html"})
    with pytest.raises(AssetError, match="a web page came"):
        wait(source().ranges(server.href("data.bin"), [0], [9]))


def test_a_server_without_ranges_is_named(server, source, fault):
    server.rule = lambda seen: fault(200, b"x" * 1000, {"Content-Type": "image/tiff"})
    with pytest.raises(AssetError, match="ignores byte ranges"):
        wait(source().ranges(server.href("data.bin"), [0], [9]))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(server, source, fault, status):
    server.rule = lambda seen: fault(status) if len(server.seen) == 1 else None
    made = source()
    assert bytes(wait(made.ranges(server.href("data.bin"), [0], [9]))[0]) == CONTENT[:9]
    assert (made.traffic.retries, len(server.seen)) == (1, 2)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for(server, source, fault, form):
    def soon() -> str:
        moment = datetime.fromtimestamp(time.time() + 1.9, UTC)
        return "1" if form == "seconds" else format_datetime(moment, usegmt=True)

    server.rule = lambda seen: (
        fault(429, headers={"Retry-After": soon()}) if len(server.seen) <= refusals else None
    )
    made = source(backoff_s=0.001)
    # obstore does not show the header of its first refusal; the second asking does.
    refusals = 2 if made.transport == "obstore" else 1
    start = time.monotonic()
    wait(made.ranges(server.href("data.bin"), [0], [9]))
    assert time.monotonic() - start > 0.85


def test_a_long_retry_after_is_the_callers_to_wait_for(server, source, fault):
    server.rule = lambda seen: fault(503, headers={"Retry-After": "3600"})
    with pytest.raises(ServiceError) as caught:
        wait(source().ranges(server.href("data.bin"), [0], [9]))
    assert (caught.value.retry_after_s, caught.value.status) == (3600, 503)


def test_a_server_that_stays_busy_is_a_service_error(server, source, fault):
    server.rule = lambda seen: fault(503)
    with pytest.raises(ServiceError) as caught:
        wait(source().ranges(server.href("data.bin"), [0], [9]))
    assert caught.value.status == 503


def test_a_truncated_answer_is_fetched_again(server, source, fault):
    server.rule = lambda seen: fault(keep=100) if len(server.seen) == 1 else None
    found = wait(source().ranges(server.href("data.bin"), [0], [5000]))
    assert bytes(found[0]) == CONTENT[:5000]


def test_a_dead_host_is_a_service_error(source):
    with pytest.raises(ServiceError, match="did not answer"):
        wait(source(attempts=2).opening(Href("http://127.0.0.1:9/x.tif"), 10))


def test_requests_in_flight_are_bounded(server, source):
    server.delay_s = 0.02
    active, peak, lock = [0], [0], threading.Lock()

    def watch(seen):
        with lock:
            active[0] += 1
            peak[0] = max(peak[0], active[0])
        time.sleep(0.02)
        with lock:
            active[0] -= 1

    server.rule = watch
    starts = list(range(0, 1_000_000, 50_000))
    made = source(in_flight=4, coalescing=Coalescing(gap_bytes=0))
    wait(made.ranges(server.href("data.bin"), starts, [start + 10 for start in starts]))
    assert len(server.seen) == len(starts)
    assert 1 < peak[0] <= 4


def test_signing_never_blocks_the_loop(server, source):
    signer = TokenSigner(delay_s=0.3)

    async def both() -> float:
        read = asyncio.ensure_future(source(signer).ranges(server.href("data.bin"), [0], [9]))
        start = time.monotonic()
        await asyncio.sleep(0.01)
        late = time.monotonic() - start
        await read
        return late

    assert wait(both()) < 0.25
    assert all(name.startswith("geostack-sign") for name in signer.signed)


def test_the_secret_travels_and_is_shown_nowhere(server, source, caplog):
    signer = TokenSigner()
    made = source(signer)
    wait(made.ranges(server.href("data.bin"), [0], [9]))
    assert server.seen[-1].query == f"{SECRET}0"
    assert "c2VjcmV0" not in repr(vars(made)) + caplog.text


def test_headers_are_sent(server, source):
    wait(source(TokenSigner(header=True)).ranges(server.href("data.bin"), [0], [9]))
    assert server.seen[-1].headers["authorization"] == "Bearer token-0"


def test_a_source_travels_as_configuration(server, source):
    made = source(TokenSigner())
    wait(made.ranges(server.href("data.bin"), [0], [9]))
    again = pickle.loads(pickle.dumps(made))
    assert (again.transport, again.policy) == (made.transport, made.policy)
    assert bytes(wait(again.ranges(server.href("data.bin"), [1], [3]))[0]) == CONTENT[1:3]
    wait(again.close())


def test_local_files_need_no_server(tmp_path):
    path = tmp_path / "local.bin"
    path.write_bytes(CONTENT)
    made = ByteSource(policy=PATIENT)
    for href in (str(path), path.as_uri()):
        opened = wait(made.opening(Href(href), 10))
        assert (bytes(opened.data), opened.size) == (CONTENT[:10], len(CONTENT))
    path.write_bytes(CONTENT + b"more")
    with pytest.raises(StaleError):
        wait(made.ranges(Href(str(path)), [0], [5], etag=opened.etag))
    with pytest.raises(AssetError, match="does not exist"):
        wait(made.opening(Href(str(tmp_path / "absent")), 10))


def test_unknown_schemes_and_transports_are_configuration():
    with pytest.raises(ConfigurationError, match="s3://"):
        wait(ByteSource().opening(Href("s3://bucket/key.tif"), 10))
    with pytest.raises(ConfigurationError, match="carrier-pigeon"):
        ByteSource(transport="carrier-pigeon")  # type: ignore[arg-type]


def test_waiting_on_the_loop_itself_is_refused():
    async def nested() -> None:
        wait(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="cannot wait"):
        wait(nested())


@pytest.mark.parametrize("transport", ["obstore", "fsspec"])
def test_an_interpreter_ends_quietly_after_reading(server, transport):
    code = (
        "from geostack_dagster.stack.reader.source import ByteSource\n"
        "from geostack_dagster.stack.reader.loop import wait\n"
        f"print(len(wait(ByteSource(transport={transport!r})"
        f".opening({server.href('data.bin')!r}, 10)).data))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "10\n", "")


# JAX, which other tests of the session use, warns of any fork; this child never touches it.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_forked_child_starts_its_own_loop(server):
    source = ByteSource(transport="fsspec")
    wait(source.opening(server.href("data.bin"), 10))
    mine = background_loop()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # no pytest in here: report through the pipe and leave at once
        same = background_loop() is mine
        os.write(writer, b"same" if same else b"new")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 4) == b"new"
    os.close(reader)
    os.close(writer)


class KeySigner(TokenSigner):
    """S3 keys: headers that are good for one object, as the providers' signers make them."""

    def sign(self, href: Href) -> SignedRequest:
        keys = S3Keys(key_id="AKIDEXAMPLE", secret="wJalrXUtnFEMI", region="eu-x", token="tok")
        extra = {"x-amz-request-payer": "requester"}
        headers = signed_headers(href, keys, now=datetime.now(UTC), extra=extra)
        return SignedRequest(SignedHref(href), headers, self.credential(href))

    def credential(self, href: Href) -> Credential:
        values = {
            "access_key_id": "AKIDEXAMPLE",
            "secret_access_key": "wJalrXUtnFEMI",
            "token": "tok",
        }
        return Credential(values=values, expires_at=None, source="KEYS")


def test_s3_signatures_are_made_per_object_over_shared_connections(server, source):
    made = source(KeySigner())
    for name in ("data.bin", "a%20b/c%2520d+e.bin"):
        assert bytes(wait(made.ranges(server.href(name), [2], [9]))[0]) == CONTENT[2:9]
    assert [seen.path for seen in server.seen] == ["data.bin", "a b/c%20d+e.bin"]
    for seen in server.seen:
        assert "AKIDEXAMPLE" in seen.headers["authorization"]
        assert "/eu-x/s3/aws4_request" in seen.headers["authorization"]
        assert seen.headers["x-amz-security-token"] == "tok"
        assert seen.headers["x-amz-request-payer"] == "requester"
    if made.transport == "obstore":
        assert len(made._remote._stores) == 1


def test_a_token_is_kept_apart_from_the_next(server, source):
    signer = TokenSigner()
    made = source(signer)
    for token in range(3):
        signer.token = token
        wait(made.ranges(server.href("data.bin"), [0], [9]))
        assert server.seen[-1].query == f"{SECRET}{token}"


class ShortLived(TokenSigner):
    """Tokens that one renewal replaces for everyone who still holds the old one."""

    def __init__(self) -> None:
        super().__init__()
        self.lock, self.born = threading.Lock(), [time.monotonic()]

    def forget(self, href: Href, refused: SignedRequest) -> bool:
        with self.lock:
            if refused.url.endswith(f"{SECRET}{self.token}"):
                self.token += 1
                self.born.append(time.monotonic())
        return True


def test_tokens_that_die_in_the_middle_of_a_long_read(server, source, fault):
    signer, life_s = ShortLived(), 0.25
    server.delay_s = 0.02

    def alive(seen):
        born = signer.born[int(seen.query.removeprefix(SECRET))]
        return None if time.monotonic() - born < life_s else fault(403)

    server.rule = alive
    made = source(signer, in_flight=4, coalescing=Coalescing(gap_bytes=0), attempts=1)
    starts = list(range(0, 1_000_000, 5000))
    start = time.monotonic()
    found = wait(made.ranges(server.href("data.bin"), starts, [each + 700 for each in starts]))
    lifetimes = (time.monotonic() - start) / life_s
    assert [bytes(part) for part in found] == [CONTENT[each : each + 700] for each in starts]
    assert 2 <= signer.token <= lifetimes + 1


def test_a_source_that_is_gone_leaves_no_connection(server, fault):
    server.rule = lambda seen: fault(404)
    source = ByteSource(transport="fsspec")
    with pytest.raises(AssetError):
        wait(source.opening(server.href("absent.bin"), 10))
    session = wait(source._remote._files.set_session())
    del source
    gc.collect()
    for _ in range(100):
        if session.closed:
            break
        time.sleep(0.01)
    assert session.closed
