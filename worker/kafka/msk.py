"""Tokens for Amazon MSK with IAM: `WORKER_KAFKA__OAUTH=worker.kafka.msk:token`, with the extra `msk`."""

from __future__ import annotations

import os


def token(_config: str) -> tuple[str, float]:
    """A token signed with the credentials that AWS's SDK finds, for the region that AWS_REGION names."""
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider  # noqa: PLC0415 - only with the extra

    signed, expiry_ms = MSKAuthTokenProvider.generate_auth_token(os.environ["AWS_REGION"])
    return signed, expiry_ms / 1000
