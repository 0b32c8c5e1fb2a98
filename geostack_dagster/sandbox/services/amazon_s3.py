"""Amazon S3: the buckets that several archives keep files in."""

from geostack_dagster.sandbox.s3 import BUCKETS, HOST, S3Service, S3Twin
from geostack_dagster.sandbox.s3_errors import AMAZON
from geostack_dagster.sandbox.service import Service, Setting

_REGIONS = ("us-west-2", "us-east-1", "eu-central-1", "eu-west-1")


def amazon_s3(setting: Setting) -> Service:
    """Both forms of address, in the regions where the archives keep buckets."""
    hosts = ("s3.amazonaws.com", *(f"s3.{region}.amazonaws.com" for region in _REGIONS))
    pair = setting.accounts.amazon_pair
    return Service(
        hosts=(*hosts, *(f"*.{host}" for host in hosts)),
        app=S3Twin(setting.vault, amazon_service(setting)),
        withheld={"AWS_ACCESS_KEY_ID": pair.key_id, "AWS_SECRET_ACCESS_KEY": pair.secret},
    )


def amazon_service(setting: Setting) -> S3Service:
    """Amazon's buckets and the keys that it knows."""
    return S3Service(buckets=BUCKETS, keyring=setting.accounts.amazon, host=HOST, house=AMAZON)
