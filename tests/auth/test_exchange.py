from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from geostack_dagster.auth.exchange import TokenRequest, _skew, ask
from geostack_dagster.errors import ServiceError


def _request(loopback, **members) -> TokenRequest:
    return TokenRequest(service="test service", url=f"{loopback.url}/token", **members)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_service_is_asked_again_and_then_believed(loopback, reply, status):
    loopback.script(reply(status), reply(status), reply(200, {"token": "t"}))
    waited: list[float] = []
    answer = ask(_request(loopback), wait=waited.append)
    assert (answer.status, answer.document) == (200, {"token": "t"})
    assert waited == [0.5, 1.0]


def test_a_service_that_stays_busy_is_a_service_error(loopback, reply):
    loopback.script(reply(504, headers={"Retry-After": "2"}))
    waited: list[float] = []
    with pytest.raises(ServiceError, match=r"test service answered 504") as raised:
        ask(_request(loopback), wait=waited.append)
    assert raised.value.status == 504
    assert raised.value.retry_after_s == 2
    assert waited == [2, 4, 8]
    assert len(loopback.asked) == 4


def test_a_long_retry_after_goes_to_the_caller(loopback, reply):
    loopback.script(reply(429, headers={"Retry-After": "120"}))
    with pytest.raises(ServiceError) as raised:
        ask(_request(loopback), wait=lambda _: pytest.fail("must not hold the thread"))
    assert raised.value.retry_after_s == 120


def test_retry_after_may_be_a_date(loopback, reply):
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    loopback.script(reply(503, headers={"Retry-After": later}))
    with pytest.raises(ServiceError) as raised:
        ask(_request(loopback))
    assert 80 < raised.value.retry_after_s <= 90


@pytest.mark.parametrize("value", ["soon", "-3", "", "Thu, 99 Foo 2026"])
def test_an_unreadable_retry_after_is_ignored(loopback, reply, value):
    loopback.script(reply(503, headers={"Retry-After": value}), reply(200, {}))
    assert ask(_request(loopback), wait=lambda _: None).status == 200


def test_no_answer_is_a_service_error_without_the_secrets():
    request = TokenRequest(
        service="test service", url="http://127.0.0.1:9/token", login=("me", "hush")
    )
    with pytest.raises(ServiceError, match="did not answer") as raised:
        ask(request, wait=lambda _: None)
    assert "hush" not in str(raised.value) + repr(request)


def test_a_redirect_is_handed_back_and_no_header_follows_it(loopback, reply):
    loopback.script(reply(302, headers={"Location": f"{loopback.url}/elsewhere"}))
    answer = ask(_request(loopback, headers={"Authorization": "Bearer abc"}))
    assert answer.status == 302
    assert [asked.path for asked in loopback.asked] == ["/token"]


def test_a_login_page_is_no_document(loopback, reply):
    loopback.script(reply(200, body=b"<html>log in</html>"))
    assert ask(_request(loopback)).document is None


def test_a_slow_answer_is_no_wrong_clock():
    """Its Date is of some moment while it was asked; only what lies outside is a difference."""
    import httpx

    now = datetime.now(UTC).replace(microsecond=0)
    for served_s, asked_s, skew_s in (
        (-30, -40, 0),
        (-40, -40, 0),
        (-100, -40, 60),
        (99, -40, -99),
    ):
        date = format_datetime(now + timedelta(seconds=served_s), usegmt=True)
        found = _skew(httpx.Response(200, headers={"Date": date}), now + timedelta(seconds=asked_s))
        assert found.total_seconds() == pytest.approx(skew_s, abs=5)


def test_expiry_is_told_by_this_machines_clock(loopback, reply):
    served = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    loopback.script(reply(200, {}, headers={"Date": format_datetime(served, usegmt=True)}))
    answer = ask(_request(loopback))
    left = (answer.local(served + timedelta(minutes=45)) - datetime.now(UTC)).total_seconds()
    assert left == pytest.approx(45 * 60, abs=5)
