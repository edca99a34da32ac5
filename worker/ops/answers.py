"""The health server's answer for each path, without any sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from worker.ops.board import Board
from worker.ops.page.document import render
from worker.ops.runbook import FOLDER, pages
from worker.ops.status import State, rfc3339

_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"
_HTML = "text/html; charset=utf-8"

PATHS = {
    "/": "this worker's status, for people",
    "/livez": "200 while the main loop turns",
    "/readyz": "200 while joined to the group and the destination takes calls",
    "/metrics": "Prometheus",
    "/status": "this worker's status, as JSON",
    f"/{FOLDER}/README.md": "what to do about each alert",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer before it is written."""

    status: HTTPStatus
    content_type: str
    body: bytes


def plain(status: HTTPStatus, text: str) -> Answer:
    """An answer of one or more lines of text."""
    return Answer(status, _TEXT, f"{text}\n".encode())


class MetricsPage:
    """What a registry has collected, as Prometheus text or OpenMetrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        # The exporter collects into one shared queue. Of two scrapes at the same time, one would take the metrics of
        # both, and the other would get none.
        self._scrape = threading.Lock()

    def answer(self, accept: str) -> Answer:
        """The page, in the form that the client accepts."""
        encode, content_type = choose_encoder(accept)
        with self._scrape:
            return Answer(HTTPStatus.OK, content_type, encode(self._registry))


class Answers:
    """Answers a path from what the board and the registry hold. Safe to call from several threads.

    Args:
        board: where the main thread leaves its status.
        registry: what `/metrics` serves.
        stalled_after_seconds: if the main loop has not turned for this long, it counts as stalled.
    """

    def __init__(self, board: Board, registry: CollectorRegistry, *, stalled_after_seconds: float = 60.0) -> None:
        self._board = board
        self._metrics = MetricsPage(registry)
        self._stalled_after_seconds = stalled_after_seconds

    def answer(self, path: str, query: str, accept: str) -> Answer:
        """The answer to a GET of `path`. An unknown path gets 404 and the list of known ones."""
        match path:
            case "/":
                return self._page(query)
            case "/livez":
                return self._livez()
            case "/readyz":
                return self._readyz()
            case "/metrics":
                return self._metrics.answer(accept)
            case "/status":
                return self._status()
        return _written(path)

    def _stall(self) -> str | None:
        idle_seconds = self._board.seconds_since_turn
        if idle_seconds <= self._stalled_after_seconds:
            return None
        return (
            f"The main loop has not turned for {idle_seconds:.0f} s "
            f"(stalled after {self._stalled_after_seconds:g} s); the worker needs a restart."
        )

    def _livez(self) -> Answer:
        stall = self._stall()
        if stall is not None:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, stall)
        return plain(HTTPStatus.OK, "ok")

    def _readyz(self) -> Answer:
        status, since = self._board.latest
        stall = self._stall()
        reason: str | None = None
        detail = status.problem
        if stall is not None:
            # The board is as old as the stall, so its halt does not count.
            reason, detail = "stalled", stall
        elif status.halt is not None:
            reason, since, detail = status.halt.reason, status.halt.since, status.halt.detail
        elif status.state in {State.STARTING, State.DRAINING, State.HALTED}:
            reason = status.state.value
        elif not status.joined:
            reason = "not_joined"
        document = {
            "ready": reason is None,
            "state": status.state.value,
            "reason": reason,
            "since": rfc3339(since),
            "detail": detail,
        }
        return _json(HTTPStatus.OK if reason is None else HTTPStatus.SERVICE_UNAVAILABLE, document)

    def _status(self) -> Answer:
        status, since = self._board.latest
        extra = {
            "state_since": rfc3339(since),
            "seconds_since_turn": round(self._board.seconds_since_turn, 3),
            "last_minute": asdict(self._board.history.last_minute()),
        }
        return _json(HTTPStatus.OK, status.to_json() | extra)

    def _page(self, query: str) -> Answer:
        status, since = self._board.latest
        now, stall, history = datetime.now(UTC), self._stall(), self._board.history
        page = render(
            status,
            since if stall is None else now - timedelta(seconds=self._board.seconds_since_turn),
            history.steps(),
            history.last_minute(),
            now=now,
            stall=stall,
            refresh=query != "refresh=off",
        )
        return Answer(HTTPStatus.OK, _HTML, page.encode())


def _written(path: str) -> Answer:
    """A page of docs/, or 404."""
    if path in pages():
        return plain(HTTPStatus.OK, pages()[path])
    return not_found(PATHS)


def not_found(paths: Mapping[str, str]) -> Answer:
    """404, with the paths that there are and what each is for."""
    known = "\n".join(f"{name:<23} {meaning}" for name, meaning in paths.items())
    return plain(HTTPStatus.NOT_FOUND, f"Not found. There is:\n{known}")


def _json(status: HTTPStatus, document: dict[str, Any]) -> Answer:
    return Answer(status, _JSON, json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")
