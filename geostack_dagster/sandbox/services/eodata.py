"""Object storage of the Copernicus Data Space: original products, for the account's own keys."""

import re

from geostack_dagster.sandbox.s3 import Access, Bucket, S3Service, S3Twin
from geostack_dagster.sandbox.s3_errors import EODATA
from geostack_dagster.sandbox.service import Service, Setting

_HOST = "eodata.dataspace.copernicus.eu"


def eodata(setting: Setting) -> Service:
    """Path style only, whatever region a signature names."""
    pair = setting.accounts.eodata_pair
    service = S3Service(
        buckets={"eodata": Bucket(None, Access.KEYS)},
        keyring=setting.accounts.eodata,
        host=re.compile(re.escape(_HOST)),
        house=EODATA,
    )
    return Service(
        hosts=(_HOST,),
        app=S3Twin(setting.vault, service),
        variables={"CDSE_ACCESS_KEY_ID": pair.key_id, "CDSE_SECRET_ACCESS_KEY": pair.secret},
    )
