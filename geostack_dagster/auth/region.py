"""Whether this machine runs in an AWS region, where a data centre's S3 keys work."""

from functools import lru_cache

from geostack_dagster.auth.resolution import Settings

OVERRIDE = "GEOSTACK_AWS_REGION"
"""Set it to the region this machine is in, or to `none`, where detection is wrong."""
_METADATA = "http://169.254.169.254/latest"
_PATIENCE_S = 0.5


def in_region(region: str, settings: Settings | None = None) -> bool:
    """Whether this machine is in `region`.

    By the override, else by what AWS sets on its container and serverless services (`AWS_REGION`
    counts only beside `AWS_EXECUTION_ENV`: people set it on laptops too), else by the instance
    metadata service.
    """
    looked_up = settings or Settings()
    override, service = looked_up.find(OVERRIDE), looked_up.find("AWS_EXECUTION_ENV")
    stated = override or (looked_up.find("AWS_REGION") if service else None)
    return (stated.value if stated else _instance_region()) == region


@lru_cache(maxsize=1)
def _instance_region() -> str | None:
    """Region by the instance metadata service (IMDSv2); None outside AWS.

    Asked without proxies and without any credential, once for the process.
    """
    import httpx

    try:
        with httpx.Client(timeout=_PATIENCE_S, trust_env=False) as client:
            token = client.put(
                f"{_METADATA}/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
            )
            answer = client.get(
                f"{_METADATA}/meta-data/placement/region",
                headers={"X-aws-ec2-metadata-token": token.raise_for_status().text},
            )
            return answer.raise_for_status().text.strip()
    except httpx.HTTPError:
        return None
