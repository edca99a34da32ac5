"""Leaves the image's own tests out where there is no image."""

from __future__ import annotations

import os

# Not a skip: only `scripts/release-check` builds an image, so only there are these tests anything.
collect_ignore = [] if os.environ.get("IMAGE") else ["test_image.py"]
