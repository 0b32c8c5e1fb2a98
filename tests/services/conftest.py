"""Third-party servers for the length of a session, and what the clients need to find them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from geostack_dagster.auth.broker import BROKER
from geostack_dagster.auth.signer import Signer
from geostack_dagster.cube.store import CubeStore, open_store
from geostack_dagster.stack.reader.loop import wait
from geostack_dagster.stack.reader.source import ByteSource
from tests.cube.scenes import SCHEMA
from tests.services.archives import ACCOUNT, AwsArchive, BlobArchive
from tests.services.aws import REGION, Cloud
from tests.services.azure import Account
from tests.services.issuer import Issuer, serving
from tests.services.postgres import Postgres, cluster
from tests.services.servers import (
    TOOLS,
    Launch,
    free_port,
    node,
    postgres_programs,
    require,
    running,
)
from tests.services.tunnel import Certificates, Tunnel, inside

_HOSTS = (
    "127.0.0.1",
    "*.blob.core.windows.net",
    "*.s3.us-west-2.amazonaws.com",
    "s3.us-west-2.amazonaws.com",
    "*.dataspace.copernicus.eu",
    "*.lpdaac.earthdatacloud.nasa.gov",
)
_ACCOUNTS = ("AWS_", "AZURE_", "GOOGLE_", "PC_SDK_", "EARTHDATA_", "CDSE_", "GEOSTACK_")


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """None but what a test gives: not from the environment, a home or the broker."""
    for name in [name for name in os.environ if name.startswith(_ACCOUNTS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    BROKER.clear()
    yield
    BROKER.clear()


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what the servers say."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def certificates(logs: Path) -> Certificates:
    """For the archives' real host names, of a throw-away authority."""
    return Certificates.issue(logs, *_HOSTS)


@contextmanager
def _azurite(account: Account, port: int, log: Path, *options: object) -> Iterator[Account]:
    program = require("azurite", TOOLS / "node/node_modules/azurite/dist/src/blob/main.js")
    command = [require("azurite", node()), program, "--blobHost", "127.0.0.1", "--blobPort", port]
    flags = ("--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")
    launch = Launch(
        command=[str(part) for part in (*command, *flags, *options)],
        port=port,
        log=log,
        environment={"AZURITE_ACCOUNTS": f"{account.name}:{account.key}"},
    )
    with running(launch):
        yield account


@pytest.fixture(scope="session")
def azurite(logs: Path) -> Iterator[Account]:
    """A storage account of Azurite over http."""
    port = free_port()
    account = Account(name="cubes", endpoint=f"http://localhost:{port}/cubes")
    with _azurite(account, port, logs / "azurite.log") as running_account:
        yield running_account


@contextmanager
def _moto(port: int, log: Path, *options: object) -> Iterator[None]:
    python = require("moto-and-pgstac", TOOLS / "services/bin/python")
    program = Path(__file__).with_name("moto_one_by_one.py")
    command = [python, program, "-H", "127.0.0.1", "-p", port, *options]
    with running(Launch(command=[str(part) for part in command], port=port, log=log)):
        yield


@pytest.fixture(scope="session")
def cloud(logs: Path) -> Iterator[Cloud]:
    """An AWS account of moto over http, which checks who asks."""
    port = free_port()
    with _moto(port, logs / "moto.log"):
        yield Cloud(f"http://localhost:{port}")


@pytest.fixture(scope="session")
def running_blobs(logs: Path, certificates: Certificates) -> Iterator[BlobArchive]:
    """Azurite and a token service at the host names of Azure."""
    port = free_port()
    account = Account(
        name=ACCOUNT, endpoint=f"https://127.0.0.1:{port}/{ACCOUNT}", bundle=certificates.bundle
    )
    tls = ("--cert", certificates.certificate, "--key", certificates.key)
    with (
        _azurite(account, port, logs / "azurite-tls.log", *tls),
        serving(Tunnel({"*.blob.core.windows.net": port})) as tunnel,
        serving(Issuer()) as tokens,
    ):
        yield BlobArchive(account, tokens, inside(tunnel, certificates))


@pytest.fixture
def blobs(running_blobs: BlobArchive, monkeypatch: pytest.MonkeyPatch) -> BlobArchive:
    """The blob archive, with this process inside its network, and an honest token service."""
    running_blobs.reset()
    for name, value in running_blobs.environment.items():
        monkeypatch.setenv(name, value)
    return running_blobs


@pytest.fixture(scope="session")
def running_aws(logs: Path, certificates: Certificates) -> Iterator[AwsArchive]:
    """moto at the host names of AWS and CDSE, and a data centre that hands out STS keys."""
    port = free_port()
    tls = ("--ssl", "--ssl-cert", certificates.certificate, "--ssl-key", certificates.key)
    with (
        _moto(port, logs / "moto-tls.log", *tls),
        serving(Issuer(certificates)) as keys,
        serving(
            Tunnel(
                {"*.amazonaws.com": port, "eodata.*": port, "*.earthdatacloud.nasa.gov": keys.port}
            )
        ) as tunnel,
    ):
        cloud = Cloud(f"https://127.0.0.1:{port}", certificates.bundle)
        yield AwsArchive(cloud, keys, inside(tunnel, certificates))


@pytest.fixture
def aws(running_aws: AwsArchive, monkeypatch: pytest.MonkeyPatch) -> AwsArchive:
    """The AWS archives, with this process inside their network."""
    running_aws.reset()
    for name, value in running_aws.environment.items():
        monkeypatch.setenv(name, value)
    return running_aws


@pytest.fixture(params=["obstore", "fsspec"])
def source(request: pytest.FixtureRequest) -> Iterator[Callable[[Signer | None], ByteSource]]:
    """Makes byte sources over each transport; gives their connections back."""
    made: list[ByteSource] = []

    def make(signer: Signer | None) -> ByteSource:
        made.append(ByteSource(signer, transport=request.param))
        return made[-1]

    yield make
    for each in made:
        wait(each.close())


@pytest.fixture(scope="session")
def postgres(logs: Path) -> Iterator[Postgres]:
    """A PostgreSQL cluster with PostGIS; `postgres.database(name)` makes a database."""
    programs = require("postgis", postgres_programs())
    with cluster(programs, logs / "postgres.log") as running_cluster:
        yield running_cluster


@pytest.fixture
def on_s3(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """moto as the storage that the environment names."""
    variables = {"AWS_ENDPOINT_URL": cloud.url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": REGION}
    for name, value in {**variables, **cloud.admin.environment}.items():
        monkeypatch.setenv(name, value)
    return cloud


@pytest.fixture
def on_azure(azurite: Account, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Azurite as the storage that the environment names."""
    for name, value in {
        "AZURE_STORAGE_ACCOUNT_NAME": azurite.name,
        "AZURE_STORAGE_ACCOUNT_KEY": azurite.key,
        "AZURE_STORAGE_ENDPOINT": azurite.endpoint,
        "AZURE_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return azurite


@pytest.fixture
def s3_url(on_s3: Cloud) -> str:
    """A bucket of its own for each test."""
    name = f"bucket-{uuid4().hex[:12]}"
    on_s3.bucket(name)
    return f"s3://{name}"


@pytest.fixture
def az_url(on_azure: Account) -> str:
    """A container of its own for each test."""
    name = f"container-{uuid4().hex[:12]}"
    on_azure.create(name)
    return f"az://{name}"


@pytest.fixture(params=["icechunk", "zarr"])
def store(request: pytest.FixtureRequest, place: str) -> CubeStore:
    """An empty cube in each kind of store, where the module's `place` is."""
    made = open_store(f"{place}/pipeline/cubes/aoi", kind=request.param)
    made.ensure(SCHEMA)
    return made


@pytest.fixture
def versioned(place: str) -> CubeStore:
    """An empty cube in a store with transactions and snapshots."""
    made = open_store(f"{place}/pipeline/cubes/aoi")
    made.ensure(SCHEMA)
    return made
