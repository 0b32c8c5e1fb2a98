"""Amazon S3: the buckets that several archives keep files in."""

from geostack_dagster.sandbox.s3 import S3Twin
from geostack_dagster.sandbox.service import Service, Setting

_REGIONS = ("us-west-2", "us-east-1", "eu-central-1", "eu-west-1")


def amazon_s3(setting: Setting) -> Service:
    """Both forms of address, in the regions where the archives keep buckets."""
    hosts = ("s3.amazonaws.com", *(f"s3.{region}.amazonaws.com" for region in _REGIONS))
    return Service(
        hosts=(*hosts, *(f"*.{host}" for host in hosts)),
        app=S3Twin(setting.vault),
    )
