"""moto's account with its checks on: users, what they may do, temporary keys, buckets."""

import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
import httpx

REGION = "us-west-2"
_ROLE = "arn:aws:iam::123456789012:role/{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """An access key."""

    key_id: str
    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that AWS's clients read."""
        found = {"AWS_ACCESS_KEY_ID": self.key_id, "AWS_SECRET_ACCESS_KEY": self.secret}
        return found if self.token is None else {**found, "AWS_SESSION_TOKEN": self.token}


class Cloud:
    """The account behind a moto server. Its checks are on once this is made."""

    def __init__(self, url: str, bundle: Path | None = None) -> None:
        self.url = url
        self._bundle = bundle
        anyone = Keys(key_id="anyone", secret="anything")
        self.admin = self._keys_of("admin", "*", "*", by=anyone)
        trust = ssl.create_default_context(cafile=bundle)
        httpx.post(
            f"{url}/moto-api/reset-auth", content=b"0", verify=trust, trust_env=False
        ).raise_for_status()

    def client(self, service: str, keys: Keys | None = None) -> Any:
        """botocore's client of a service."""
        used = keys or self.admin
        return botocore.session.get_session().create_client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            verify=None if self._bundle is None else str(self._bundle),
            aws_access_key_id=used.key_id,
            aws_secret_access_key=used.secret,
            aws_session_token=used.token,
        )

    def bucket(self, name: str) -> None:
        """Make a bucket."""
        where = {"LocationConstraint": REGION}
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=where)

    def put(self, bucket: str, key: str, content: bytes) -> None:
        """Store an object."""
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=content)

    def reader(self, bucket: str) -> Keys:
        """Keys of a user who may read and list one bucket."""
        return self._keys_of(
            f"reader-of-{bucket}",
            ["s3:GetObject", "s3:ListBucket"],
            [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            by=self.admin,
        )

    def session(self, bucket: str) -> Keys:
        """Temporary keys from STS that may read one bucket."""
        role, iam = f"visitor-of-{bucket}", self.client("iam")
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        if role not in {known["RoleName"] for known in iam.list_roles()["Roles"]}:
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=_policy(trust))
            objects = f"arn:aws:s3:::{bucket}/*"
            grant = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": objects}
            iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=_policy(grant))
        given = self.client("sts").assume_role(RoleArn=_ROLE.format(role), RoleSessionName="test")
        made = given["Credentials"]
        return Keys(
            key_id=made["AccessKeyId"], secret=made["SecretAccessKey"], token=made["SessionToken"]
        )

    def _keys_of(
        self, user: str, actions: str | Sequence[str], resources: str | Sequence[str], *, by: Keys
    ) -> Keys:
        iam = self.client("iam", by)
        iam.create_user(UserName=user)
        grant = {"Effect": "Allow", "Action": actions, "Resource": resources}
        iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=_policy(grant))
        made = iam.create_access_key(UserName=user)["AccessKey"]
        return Keys(key_id=made["AccessKeyId"], secret=made["SecretAccessKey"])


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
