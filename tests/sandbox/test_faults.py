"""Every fault does to a real client what it says, and the log tells the truth."""

import time

import pytest
import requests

from tests.sandbox.conftest import EARTH_SEARCH, EMMENTAL, PLANETARY, signed

QUERY = {"collections": ["sentinel-2-l2a"], "bbox": EMMENTAL, "limit": 4}


def search(http, api: str = EARTH_SEARCH):
    return http.post(f"{api}/search", json=QUERY)


@pytest.fixture
def control(in_sandbox):
    return in_sandbox.control


def test_status_and_retry_after_then_recovery(http, control):
    control.fault(host="earth-search*", path="*/search", status=429, retry_after_s=2, times=2)
    answers = [search(http) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "2"
    (rule,) = control.faults()
    assert rule["hits"] == 2


def test_latency_adds_to_other_faults(http, control):
    control.fault(latency_s=0.2)
    control.fault(method="POST", status=503, times=1)
    started = time.perf_counter()
    assert search(http).status_code == 503
    assert time.perf_counter() - started > 0.2


def test_skip_lets_the_first_requests_pass(http, control):
    control.fault(status=500, skip=1, times=1)
    assert [search(http).status_code for _ in range(3)] == [200, 500, 200]


def test_probability_is_a_share(http, control):
    control.fault(path="*/conformance", status=500, probability=0.5)
    codes = [http.get(f"{EARTH_SEARCH}/conformance").status_code for _ in range(40)]
    assert 8 < codes.count(500) < 32


def test_a_truncated_body_closes_the_connection(http, control, earth_search_item):
    href = earth_search_item["assets"]["scl"]["href"]
    control.fault(host="sentinel-cogs*", truncate_bytes=1000, times=1)
    with pytest.raises(requests.exceptions.RequestException):
        http.get(href, headers={"Range": "bytes=0-9999"})
    assert len(http.get(href, headers={"Range": "bytes=0-9999"}).content) == 10_000


def test_html_instead_of_data(http, control, earth_search_item):
    control.fault(host="sentinel-cogs*", html=True, times=1)
    answer = http.get(earth_search_item["assets"]["scl"]["href"])
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    assert "<form" in answer.text


def test_a_slow_body(http, control, earth_search_item):
    control.fault(host="sentinel-cogs*", bytes_per_s=100_000, times=1)
    started = time.perf_counter()
    answer = http.get(
        earth_search_item["assets"]["scl"]["href"], headers={"Range": "bytes=0-39999"}
    )
    assert len(answer.content) == 40_000
    assert time.perf_counter() - started > 0.35


def test_a_credential_can_expire_early(http, control, planetary_item):
    url = signed(http, planetary_item["assets"]["SCL"]["href"])
    control.fault(host="*.blob.core.windows.net", expire=True, times=1)
    refused = http.head(url)
    assert (refused.status_code, refused.headers["x-ms-error-code"]) == (
        403,
        "AuthenticationFailed",
    )
    assert http.head(url).status_code == 200


def follow(http, api: str) -> list[dict]:
    answers = [search(http, api).json()]
    while link := next((link for link in answers[-1]["links"] if link["rel"] == "next"), None):
        answers.append(http.post(link["href"], json=link["body"]).json())
    return answers


@pytest.mark.parametrize("api", [f"{PLANETARY}/stac/v1", EARTH_SEARCH])
def test_a_duplicate_page(http, control, api):
    plain = [item["id"] for page in follow(http, api) for item in page["features"]]
    control.fault(path="*/search", page="duplicate", times=1)
    doubled = [item["id"] for page in follow(http, api) for item in page["features"]]
    assert sorted(doubled) == sorted(plain + plain[:4])


def test_an_empty_page_in_the_middle(http, control):
    control.fault(path="*/search", page="empty", skip=1, times=1)
    sizes = [len(page["features"]) for page in follow(http, EARTH_SEARCH)]
    assert sizes == [4, 0, 1, 0]


def test_a_wrong_matched_count(http, control):
    control.fault(path="*/search", page="wrong-matched", times=1)
    assert search(http).json()["numberMatched"] != search(http).json()["numberMatched"] == 9


def test_the_log_has_no_signatures(http, control, planetary_item):
    control.clear_log()
    url = signed(http, planetary_item["assets"]["SCL"]["href"])
    http.get(url, headers={"Range": "bytes=0-99"})
    (entry,) = control.log("sentinel2l2a01.blob.core.windows.net")
    assert (entry["method"], entry["status"], entry["bytes"], entry["range"]) == (
        "GET",
        206,
        100,
        "bytes=0-99",
    )
    assert entry["path"].endswith("_SCL_20m.tif")
    assert "sig" not in str(control.log())
