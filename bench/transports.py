"""CPU for each call of httpx's client, httpx's transport and the worker's transport, side by side in one run.

Example: .venv/bin/python -m bench.transports --repetitions 3
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, TypeAlias

import httpx

from bench import options, report
from bench.destination import Destination
from bench.figures import Figure
from bench.problems import told
from bench.report import Spread
from worker.attentive.message import Answer, Message
from worker.attentive.request import ATTRIBUTES_PATH, headers
from worker.attentive.transport import Transport, endpoint

IN_FLIGHT = 16
OURS = "the worker's transport"
_CALLS = 8_000
_WARM_CALLS = 320
_TIMEOUT_SECONDS = 10.0
_BODY = b'{"properties":{"tier":"gold","points":1200},"user":{"phone":"+15550001111"}}'

_Call: TypeAlias = Callable[[], Awaitable[int]]
_Prepared: TypeAlias = Callable[[str, AsyncExitStack], Awaitable[list[_Call]]]
"""From the URL to one way of calling for each call in flight."""


async def _clients(url: str, stack: AsyncExitStack) -> list[_Call]:
    return [_by_client(await stack.enter_async_context(_client()), url) for _ in range(IN_FLIGHT)]


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=None, limits=httpx.Limits(max_connections=1), trust_env=False)  # noqa: S113 - bounded below


def _by_client(client: httpx.AsyncClient, url: str) -> _Call:
    async def call() -> int:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            response = await client.send(_request(url))
        return response.status_code

    return call


async def _httpx_transports(url: str, stack: AsyncExitStack) -> list[_Call]:
    limits = httpx.Limits(max_connections=1)
    made = [httpx.AsyncHTTPTransport(limits=limits, trust_env=False) for _ in range(IN_FLIGHT)]
    return [_by_httpx_transport(await stack.enter_async_context(each), url) for each in made]


def _by_httpx_transport(transport: httpx.AsyncHTTPTransport, url: str) -> _Call:
    async def call() -> int:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            response = await transport.handle_async_request(_request(url))
            await response.aread()
            await response.aclose()
        return response.status_code

    return call


def _request(url: str) -> httpx.Request:
    return httpx.Request("POST", url, headers=[*headers("token", "bench"), _TYPE], content=_BODY)


async def _ours(url: str, stack: AsyncExitStack) -> list[_Call]:
    transport = await stack.enter_async_context(Transport(asyncio.get_running_loop(), age_max_seconds=300))

    async def call() -> int:
        deadline = asyncio.get_running_loop().time() + _TIMEOUT_SECONDS
        message = Message("POST", url, (*headers("token", "bench"), _TYPE), _BODY)
        came = await transport.exchange(message, deadline=deadline, may_send=lambda: True)
        return came.status if isinstance(came, Answer) else 0

    return [call] * IN_FLIGHT


_TYPE = ("Content-Type", "application/json")
_ROWS: dict[str, _Prepared] = {
    "httpx.AsyncClient": _clients,
    "httpx.AsyncHTTPTransport": _httpx_transports,
    OURS: _ours,
}


async def measured(prepared: _Prepared, url: str, calls: int) -> Figure:
    """This process's CPU for `calls` or a few more, of which `IN_FLIGHT` are under way at any time."""
    each = -(-calls // IN_FLIGHT)

    async def run(call: _Call, count: int) -> None:
        for _ in range(count):
            if (status := await call()) != 200:  # noqa: PLR2004 - OK
                raise ValueError(f"a call was answered {status}")

    async with AsyncExitStack() as stack:
        ways = await prepared(url, stack)
        await asyncio.gather(*(run(call, _WARM_CALLS // IN_FLIGHT) for call in ways))
        gc.collect()
        started, cpu_started = time.perf_counter(), time.process_time()
        await asyncio.gather(*(run(call, each) for call in ways))
        return Figure(each * IN_FLIGHT, time.perf_counter() - started, time.process_time() - cpu_started)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the bench; 1 where a call failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.transports", description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=options.repetitions, default=3, help="how often all is measured, in turn")
    parser.add_argument("--calls", type=options.many, default=_CALLS, help="calls of each row")
    parser.add_argument("--json", action="store_true", help="JSON on stdout instead of the table")
    asked = parser.parse_args(arguments)
    return told(lambda: _measure(asked))


def _measure(asked: argparse.Namespace) -> int:
    repetitions: list[dict[str, Figure]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        destination = Destination(Path(directory))
        try:
            url = endpoint(destination.base_url, ATTRIBUTES_PATH)
            for number in range(1, asked.repetitions + 1):
                print(f"repetition {number} of {asked.repetitions}", file=sys.stderr)
                done = {name: asyncio.run(measured(prepared, url, asked.calls)) for name, prepared in _ROWS.items()}
                repetitions.append(done)
        finally:
            destination.stop()
    rows = [_row(name, repetitions) for name in _ROWS]
    if asked.json:
        whole = {**report.machine(), "in_flight": IN_FLIGHT, "rows": [row.as_json() for row in rows]}
        print(json.dumps(whole, indent=2))
    else:
        print(f"{IN_FLIGHT} calls in flight; {asked.repetitions} repetitions in turn: median (lowest-highest)\n")
        print(f"{'':26}{'CPU ms per call':>24}{'to the worker':>20}")
        for row in rows:
            print(f"{row.name:26}{row.cpu_ms_per_call.text(3):>24}{row.cpu_to_the_workers.text(1):>20}")
    return 0


class Row(NamedTuple):
    """One way of calling. The ratio is taken inside each repetition, before any median."""

    name: str
    cpu_ms_per_call: Spread
    cpu_to_the_workers: Spread

    def as_json(self) -> dict[str, object]:
        """For programs; a spread is an object of median, low and high."""
        ratio, milliseconds = self.cpu_to_the_workers._asdict(), self.cpu_ms_per_call._asdict()
        return {"name": self.name, "cpu_ms_per_call": milliseconds, "cpu_to_the_workers": ratio}


def _row(name: str, repetitions: list[dict[str, Figure]]) -> Row:
    return Row(
        name,
        Spread.of(each[name].cpu_per_thousand for each in repetitions),  # s per 1,000 calls are ms per call
        Spread.of(each[name].cpu_per_thousand / each[OURS].cpu_per_thousand for each in repetitions),
    )


if __name__ == "__main__":
    sys.exit(main())
