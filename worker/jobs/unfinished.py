"""The error of a job that cannot go on."""

from __future__ import annotations


class Unfinished(Exception):
    """The job cannot be finished now. The message says why, and what is left."""
