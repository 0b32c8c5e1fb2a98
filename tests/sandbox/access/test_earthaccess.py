"""NASA's own client, and obstore's, work in the sandbox as they are: nothing knows where it is."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.sandbox.held import hold

GATE = "https://data.lpdaac.earthdatacloud.nasa.gov"
KEY = "EMITL2BCH4ENH.002/probe/EMIT_earthaccess.json"
# One process for all questions: earthaccess reads proxies and certificates when it is imported.
SCRIPT = """
import json, sys
from pathlib import Path
import earthaccess

url, folder = sys.argv[1:]
auth = earthaccess.login(strategy="environment")
granules = earthaccess.search_data(
    short_name="EMITL1BRAD", version="001", temporal=("2024-06-01", "2024-06-10"),
    bounding_box=(7.8, 46.9, 8.0, 47.1),
)
# Without options it would hand all of fsspec's configuration, proxies too, to each request.
options = {"cache_type": "background"}
(file, *_) = earthaccess.open(granules[:1], open_kwargs=options)
head = file.read(8)
(path,) = earthaccess.download([url], local_path=folder)
(dataset,) = earthaccess.search_datasets(short_name="EMITL1BRAD", count=5)
found = {
    "authenticated": auth.authenticated,
    "granules": [granule["umm"]["GranuleUR"] for granule in granules],
    "cloud_hosted": granules[0].cloud_hosted,
    "links": granules[0].data_links(),
    "size": file.size,
    "head": head.hex(),
    "downloaded": Path(path).read_text(),
    "keys": auth.get_s3_credentials(daac="LPDAAC"),
    "dataset": dataset["meta"]["concept-id"],
}
print(json.dumps(found))
"""


@pytest.fixture
def document(in_sandbox) -> bytes:
    return hold(in_sandbox, "lpcloud", f"{GATE}/lp-prod-protected/{KEY}")


def test_earthaccess_logs_in_searches_opens_and_downloads(in_sandbox, document, tmp_path):
    url = f"{GATE}/lp-prod-protected/{KEY}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, url, str(tmp_path)],
        env={**os.environ, **in_sandbox.environment, "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["authenticated"]
    assert len(found["granules"]) == 2
    assert found["cloud_hosted"]
    assert [link.rpartition(".")[2] for link in found["links"]] == ["nc", "nc"]
    assert found["size"] > 200e6
    assert bytes.fromhex(found["head"]) == b"\x89HDF\r\n\x1a\n"
    assert found["downloaded"] == document.decode()
    assert {"accessKeyId", "secretAccessKey", "sessionToken", "expiration"} == found["keys"].keys()
    assert found["dataset"] == "C2408009906-LPCLOUD"
    seen = [entry for entry in in_sandbox.control.log() if "cloudfront" in entry["host"]]
    assert seen
    assert all(entry["status"] < 300 for entry in seen), "nobody showed a bearer to that host"


@pytest.mark.parametrize("how", ["login", "token", "netrc"])
def test_obstore_gets_keys_for_a_login(in_sandbox, document, monkeypatch, tmp_path, how):
    from obstore.auth.earthdata import NasaEarthdataCredentialProvider
    from obstore.store import S3Store

    account = in_sandbox.account
    user, password = account["EARTHDATA_USERNAME"], account["EARTHDATA_PASSWORD"]
    auth = None
    if how == "token":
        auth = token(user, password)
    if how == "netrc":
        path: Path = tmp_path / "netrc"
        path.write_text(f"machine urs.earthdata.nasa.gov login {user} password {password}\n")
        monkeypatch.setenv("NETRC", str(path))
        monkeypatch.delenv("EARTHDATA_USERNAME")
    provider = NasaEarthdataCredentialProvider(f"{GATE}/s3credentials", auth=auth)
    try:
        store = S3Store("lp-prod-protected", credential_provider=provider)
        assert bytes(store.get(KEY).bytes()) == document
        lasts = provider()["expires_at"] - datetime.now(UTC)
        assert timedelta(minutes=44) < lasts < timedelta(minutes=46)
    finally:
        provider.close()


def test_obstore_is_told_of_a_wrong_login(in_sandbox, document):
    import requests
    from obstore.auth.earthdata import NasaEarthdataCredentialProvider

    for auth in (("nobody", "wrong"), "eyJhbGciOiJSUzI1NiJ9.eyJ1aWQiOiJ4In0.AA"):
        provider = NasaEarthdataCredentialProvider(f"{GATE}/s3credentials", auth=auth)
        with pytest.raises(requests.exceptions.HTTPError, match="401"):
            provider()
        provider.close()


def token(user: str, password: str) -> str:
    import requests

    url = "https://urs.earthdata.nasa.gov/api/users/find_or_create_token"
    return str(requests.post(url, auth=(user, password), timeout=10).json()["access_token"])
