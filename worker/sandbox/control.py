"""The sandbox's own paths, under `/_sandbox/`. They need no token, and are not in the statistics."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from worker.sandbox.faults import FaultError, FaultPlan, read_faults
from worker.sandbox.service import Service


def control_app(service: Service) -> Starlette:
    """The application that serves the paths of `_Control`."""
    control = _Control(service)
    return Starlette(
        routes=[
            Route("/_sandbox/users", control.users),
            Route("/_sandbox/stats", control.stats),
            Route("/_sandbox/requests", control.requests),
            Route("/_sandbox/faults", control.faults),
            Route("/_sandbox/faults", control.set_faults, methods=["POST"]),
            Route("/_sandbox/tokens", control.set_tokens, methods=["POST"]),
            Route("/_sandbox/reset", control.reset, methods=["POST"]),
        ]
    )


class _Control:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def users(self, _request: Request) -> Response:
        """The final state, one JSON object per line."""
        return _lines(self._service.account.lines())

    async def stats(self, _request: Request) -> Response:
        return JSONResponse(self._service.stats())

    async def requests(self, request: Request) -> Response:
        """The recorded requests whose number is above the parameter `since`."""
        if not self._service.meter.recording:
            return _problem(409, "requests are not recorded: start the sandbox with --record")
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            return _problem(400, "since must be a whole number")
        return _lines(self._service.meter.lines(int(since)))

    async def faults(self, _request: Request) -> Response:
        """How often each fault was used, in the posted order."""
        return JSONResponse(self._service.plan.counts())

    async def set_faults(self, request: Request) -> Response:
        """Replaces all faults by those in the body. `[]` ends them all."""
        try:
            faults = read_faults(json.loads(await request.body()))
        except (ValueError, RecursionError):
            return _problem(400, "the body must be JSON")
        except FaultError as error:
            return _problem(400, str(error))
        self._service.plan = FaultPlan(faults, time.time())
        return JSONResponse({"faults": len(faults)})

    async def set_tokens(self, request: Request) -> Response:
        """Replaces the valid tokens by those in the body, a JSON list."""
        try:
            tokens = json.loads(await request.body())
        except (ValueError, RecursionError):
            return _problem(400, "the body must be JSON")
        if not isinstance(tokens, list) or not all(isinstance(token, str) and token for token in tokens):
            return _problem(400, "the body must be a list of tokens")
        self._service.tokens = frozenset(tokens)
        return JSONResponse({"tokens": len(self._service.tokens)})

    async def reset(self, _request: Request) -> Response:
        """Resets the sandbox to its state after the start."""
        self._service.reset(time.time())
        return JSONResponse({"reset": True})


def _lines(lines: Iterable[str]) -> Response:
    return Response("".join(f"{line}\n" for line in lines), media_type="application/jsonl")


def _problem(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status_code=status)
