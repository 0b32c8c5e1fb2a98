import json
import logging
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geostack_dagster.auth.redaction import RedactingFilter, redact_logs, scan, scrub
from geostack_dagster.domain.hrefs import redact

SECRET = "c2lnbmF0dXJlIHJlbW92ZWQ123"
LEAKS = {
    "sas": f"https://a.blob.core.windows.net/c/k.tif?se=2024-05-14&sp=rl&sig={SECRET}%3D",
    "sas alone": f"sig={SECRET}",
    "sas in json": json.dumps({"u": "x?a=1&sig="}).replace("&", "\\u0026")[:-2] + SECRET + '"}',
    "sas in a url": f"/proxy?url=https%3A%2F%2Fa%2Fk%3Fse%3D1%26sig%3D{SECRET}",
    "presigned": f"https://b.s3.amazonaws.com/k?X-Amz-Date=1&X-Amz-Signature={SECRET}",
    "sts header": f"{{'x-amz-security-token': '{SECRET}'}}",
    "sigv4 header": "AWS4-HMAC-SHA256 Credential=AK/2024/x/s3/r, SignedHeaders=host, "
    f"Signature={SECRET}",
    "bearer": f"Authorization: Bearer {SECRET}",
    "basic": f"authorization: Basic {SECRET}==",
    "login in url": f"https://user:{SECRET}@host/path",
    "oauth": json.dumps({"access_token": SECRET, "expires_in": 3599}),
    "s3credentials": json.dumps({"secretAccessKey": SECRET}),
    "subscription": f"Ocp-Apim-Subscription-Key: {SECRET}",
}
CLEAN = (
    "a URL with sig= in prose, a Bearer token and basic authentication of a user",
    "https://sentinel-cogs.s3.us-west-2.amazonaws.com/a/TCI.tif?versionId=abc",
    "x-amz-request-payer: requester; x-amz-date: 20240101T000000Z",
    "access_token: str | None = None",
    "s3://bucket/key:with@signs see https://host/a:b",
    "design=abcdefghijklmnopqrstuvwxyz",
)


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS)
def test_every_kind_of_signature_is_masked(text):
    masked = redact(text)
    assert SECRET not in masked
    assert "[redacted]" in masked
    assert redact(masked) == masked


@pytest.mark.parametrize("text", CLEAN)
def test_prose_and_canonical_hrefs_stay(text):
    assert redact(text) == text


@given(st.text(), st.text())
def test_masking_keeps_what_is_around_a_signature(before, after):
    masked = redact(f"{before} https://a/k?sig={SECRET} {after}")
    assert SECRET not in masked
    assert masked.endswith(redact(f" {after}"))


@pytest.fixture
def records():
    logger = logging.getLogger("test.redaction")
    logger.propagate = False
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Keep()
    logger.addHandler(handler)
    yield logger, handler, lines
    logger.removeHandler(handler)


def _read(url: str) -> None:
    raise OSError(f"cannot read {url}")


def _log_everything(logger: logging.Logger) -> None:
    url = LEAKS["sas"]
    logger.warning("opened %s in %d ms", url, 3)
    logger.warning("opened %(url)s", {"url": url})
    try:
        _read(url)
    except OSError:
        logger.exception("failed", stack_info=True)


def test_a_handler_with_the_filter_writes_no_signature(records):
    logger, handler, lines = records
    handler.addFilter(RedactingFilter())
    _log_everything(logger)
    assert len(lines) == 3
    assert SECRET not in "".join(lines)
    assert "in 3 ms" in lines[0]
    assert "Traceback" in lines[2]
    assert "cannot read https://a.blob" in lines[2]


def test_all_loggers_of_a_process_can_be_covered(records):
    logger, _, lines = records
    before = logging.getLogRecordFactory()
    try:
        redact_logs()
        installed = logging.getLogRecordFactory()
        redact_logs()
        assert logging.getLogRecordFactory() is installed
        _log_everything(logger)
    finally:
        logging.setLogRecordFactory(before)
    assert len(lines) == 3
    assert SECRET not in "".join(lines)


def test_an_exception_is_scrubbed_with_its_causes_and_notes():
    error = OSError(5, f"GDAL says {LEAKS['sas']}", LEAKS["sas"])
    error.add_note(LEAKS["bearer"])
    group = ExceptionGroup("both", [error, ValueError(LEAKS["presigned"])])
    group.__cause__ = KeyError(LEAKS["sas"])
    group.__cause__.__context__ = group
    found = scrub(group)
    shown = repr(found) + repr(found.__cause__) + str(found.exceptions[0].__notes__)
    shown += str(found.exceptions[0])
    assert SECRET not in shown
    assert "GDAL says" in shown
    assert found.exceptions[0].errno == 5


@pytest.mark.parametrize("text", LEAKS.values(), ids=LEAKS)
def test_the_scan_finds_every_kind_in_any_file(tmp_path, text):
    (tmp_path / "clean.txt").write_text("\n".join(CLEAN))
    (tmp_path / "empty").touch()
    nested = tmp_path / "a" / "b.parquet"
    nested.parent.mkdir()
    nested.write_bytes(b"PAR1\x00\xff" + text.encode() + b"\x00PAR1")
    leaks = scan([tmp_path, tmp_path / "absent"])
    assert {leak.path for leak in leaks} == {nested}
    assert SECRET not in repr(leaks)


def test_the_scan_reads_sqlite_parquet_and_known_secrets(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    with sqlite3.connect(tmp_path / "events.db") as database:
        database.execute("create table event (body text)")
        database.execute("insert into event values (?)", (LEAKS["sas"],))
    database.close()
    table = pa.table({"href": [LEAKS["sas"]]})
    pq.write_table(table, tmp_path / "snapshot.parquet", compression="none")
    (tmp_path / "run.yaml").write_text("password: correct horse")
    leaks = scan([tmp_path], secrets=["correct horse", ""])
    found = {leak.path.name for leak in leaks}
    assert found == {"events.db", "snapshot.parquet", "run.yaml"}
    assert "horse" not in "".join(leak.excerpt for leak in leaks)


def test_the_scan_does_not_follow_links(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text(LEAKS["sas"])
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    assert scan([folder]) == []


@pytest.mark.parametrize("offset", [-300, -40, -20, -1, 0, 1])
def test_a_leak_across_the_seam_of_two_reads_is_found_once(tmp_path, offset):
    from geostack_dagster.auth import redaction

    at = redaction._WINDOW + offset
    path = tmp_path / "big"
    path.write_bytes(b"x" * at + b"&sig=" + SECRET.encode() + b" end")
    assert [leak.offset for leak in scan([path])] == [at + 1]
