"""A real Prometheus that scrapes one target."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import httpx

from tests.support.java import Process, Unavailable
from tests.support.processes import until

_LISTENS = re.compile(r'"Listening on" address=(\S+)')


class Prometheus:
    """Serves on a free loopback port.

    Raises:
        Unavailable: this machine has no Prometheus.
    """

    def __init__(self, directory: Path, target: str) -> None:
        binary = shutil.which("prometheus")
        if binary is None:
            raise Unavailable("there is no prometheus on the PATH; on Debian and Ubuntu: apt-get install prometheus")
        directory.mkdir()
        settings = directory / "prometheus.yml"
        settings.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: worker, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        arguments = [f"--config.file={settings}", f"--storage.tsdb.path={directory / 'data'}"]
        self._process = Process([binary, *arguments, "--web.listen-address=127.0.0.1:0"], directory / "log")
        until(self._listens, 30, "Prometheus listens")

    def _listens(self) -> bool:
        found = _LISTENS.search(self._process.log.read_text(errors="replace"))
        if found is not None:
            self._url = f"http://{found[1]}/api/v1/query"
        return found is not None

    def query(self, expression: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The value of each series, by its labels without those of the scrape."""
        answer = httpx.get(self._url, params={"query": expression}).raise_for_status().json()
        return {
            tuple(sorted((k, v) for k, v in each["metric"].items() if k not in {"__name__", "job", "instance"})): float(
                each["value"][1]
            )
            for each in answer["data"]["result"]
        }

    def value(self, expression: str) -> float | None:
        """The value of the only series. None if there is none."""
        found = list(self.query(expression).values())
        assert len(found) < 2, f"{expression} has {len(found)} series"
        return found[0] if found else None

    def stop(self) -> None:
        self._process.stop()
