"""Reads pip-audit's report: `python -m tests.image.audit REPORT`.

pip-audit itself succeeds if its database answers for no package at all. So here the exit status is 0 if all packages
were looked up and are clean, 1 if one is vulnerable, and 3 if some or all were not looked up.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CLEAN, VULNERABLE, NOT_REACHED = 0, 1, 3


def judge(report: Path) -> int:
    """Prints what was found, and returns the exit status. Without a report, nothing was reached."""
    packages = json.loads(report.read_text(encoding="utf-8"))["dependencies"] if report.exists() else []
    vulnerable = [package for package in packages if package.get("vulns")]
    skipped = [package for package in packages if "skip_reason" in package]
    for package in vulnerable:
        identifiers = ", ".join(vulnerability["id"] for vulnerability in package["vulns"])
        sys.stdout.write(f"{package['name']} {package['version']}: {identifiers}\n")
    sys.stdout.write(f"{len(packages) - len(skipped)} packages looked up, {len(vulnerable)} vulnerable\n")
    if vulnerable:
        return VULNERABLE
    return NOT_REACHED if skipped or not packages else CLEAN


if __name__ == "__main__":
    sys.exit(judge(Path(sys.argv[1])))
