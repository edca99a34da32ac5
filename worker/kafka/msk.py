"""Tokens for Amazon MSK with IAM: `WORKER_KAFKA__OAUTH=worker.kafka.msk:token`, with the extra `msk`."""

from __future__ import annotations

import os

from worker.kafka.oauth import NoToken


def token(_config: str) -> tuple[str, float]:
    """A token signed with the credentials that AWS's SDK finds, for the region that AWS_REGION names.

    Raises:
        NoToken: The extra or the region is missing.
    """
    try:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - only with the extra
    except ModuleNotFoundError:
        raise NoToken(
            "the extra 'msk' is not installed: in the folder that the worker was installed from, "
            "run pip install '.[msk]'"
        ) from None
    region = os.environ.get("AWS_REGION")
    if not region:
        raise NoToken("AWS_REGION is not set: set it to the cluster's region")
    signed, expiry_ms = MSKAuthTokenProvider.generate_auth_token(region)
    return signed, expiry_ms / 1000
