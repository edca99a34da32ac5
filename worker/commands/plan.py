"""`attribute-worker plan`: what windows would cost on this topic."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from worker.commands.job import UNFINISHED_EXIT, Job, job, metrics_port_option
from worker.core.counted import counted
from worker.core.model import Partition
from worker.jobs.plan.figures import Figures, WindowFigures
from worker.jobs.plan.job import Wish
from worker.jobs.spans import chosen, reach
from worker.jobs.unfinished import Unfinished
from worker.jobs.when import in_order, when
from worker.kafka.range import Span
from worker.kafka.topics import Admin
from worker.ops.job_board import JobBoard
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.settings.model import Settings
from worker.wiring import parts
from worker.wiring.plan import plan as build
from worker.wiring.watch import watched

_WINDOWS: Final = "0,1,5,30,60,300"
_WINDOWS_MAX: Final = 12
_WINDOW_SECONDS_MAX: Final = 86_400
_SUFFIXES: Final = (".svg", ".png", ".html")
_MIB: Final = 1 << 20


class Windows(click.ParamType[list[float]]):
    """Windows in seconds, comma-separated."""

    name = "LIST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:  # noqa: ANN401 - click's signature
        """The windows, each once, in the order in which they were typed."""
        try:
            found = list(dict.fromkeys(float(part) for part in str(value).split(",") if part.strip()))
        except ValueError:
            found = []
        if not found or not all(0 <= each <= _WINDOW_SECONDS_MAX for each in found) or len(found) > _WINDOWS_MAX:
            self.fail(
                f"{value!r}: write up to {_WINDOWS_MAX} windows in seconds, from 0 to {_WINDOW_SECONDS_MAX}, as "
                f"{_WINDOWS}",
                param,
                ctx,
            )
        return found


class Picture(click.ParamType[Path]):
    """A file to draw into."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401 - click's signature
        """The path, whose ending says what to draw."""
        path = Path(value)
        if path.suffix.lower() not in _SUFFIXES:
            self.fail(f"{value!r}: the name must end with {', '.join(_SUFFIXES)}", param, ctx)
        if path.is_dir() or not path.absolute().parent.is_dir():
            self.fail(f"{value!r}: there is no such folder, or it is one", param, ctx)
        return path


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker plan                                     the last day, six windows
  attribute-worker plan --from -7d --windows 0,5,60 --plot plan.svg
  attribute-worker plan --from 2026-03-01 --to 2026-03-02 --json | jq '.windows[] | {seconds, calls}'""",
)
@settings_options
@click.option(
    "--from",
    "begin",
    metavar="WHEN",
    default="-24h",
    show_default=True,
    help="Where the span begins: an ISO 8601 time, a duration back as -2h, earliest or latest.",
)
@click.option(
    "--to", "end", metavar="WHEN", default="latest", show_default=True, help="Where the span ends, exclusive."
)
@click.option("--windows", type=Windows(), default=_WINDOWS, show_default=True, help="Windows to play, in seconds.")
@click.option("--plot", "picture", type=Picture(), help="Draw it, too: .svg, .png or .html, by the name's ending.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@metrics_port_option
def command(
    loaded: Loaded,
    *,
    begin: str,
    end: str,
    windows: list[float],
    picture: Path | None,
    as_json: bool,
    metrics_port: int | None,
) -> None:
    """Tell what windows would cost on this topic, before you choose one.

    Reads a span of the topic once, applies the same rules as `run`, and plays all windows on it: how many calls they
    need, how many they save, how long a change waits, and what the limit of calls a second holds back. A record's
    timestamp stands for its arrival. It makes no call and commits nothing.

    Exit status: 0 done; 1 the span could not be read to its end; 2 bad usage or configuration.
    """
    settings = loaded.settings
    if picture is not None:
        importlib.import_module("worker.jobs.plan.picture")  # a missing extra shows now, not after the reading
    with job(settings, "plan") as begun:
        board = JobBoard("plan", "plan")
        with watched(settings, parts.identity(settings), board, metrics_port, begun.log):
            figures = _figures(settings, (begin, end), windows, board, begun)
            board.finish()
    text = "\n".join(_lines(figures))
    click.echo(json.dumps(figures.as_json()) if as_json else text)
    if picture is not None:
        _draw(figures, picture, text)


def _figures(settings: Settings, typed: tuple[str, str], windows: list[float], board: JobBoard, begun: Job) -> Figures:
    now_ms = time.time_ns() // 1_000_000
    spans = _spans(settings, typed, now_ms, parts.admin(settings, begun.log))
    wish = Wish(windows, settings.attentive.requests_per_second, settings.window.max_bytes, now_ms)
    with build(settings, spans, wish, board, begun.log) as plan:
        if not plan.run(begun.stopped):
            raise Unfinished(
                f"stopped: {plan.left:,} of {counted(plan.offsets, 'offset')} not read; nothing was planned"
            )
        return plan.figures()


def _spans(settings: Settings, typed: tuple[str, str], now_ms: int, admin: Admin) -> dict[Partition, Span]:
    begin, end = (when(text, now_ms) for text in typed)
    in_order(begin, end)
    reaches = reach(admin, chosen(admin, settings.kafka.topics, (), ()), begin, end)
    shortened = [f"{each.topic}/{each.number}" for each, found in reaches.items() if found.shortened]
    if shortened:
        click.echo(
            f"The span may begin later than asked: older records of {', '.join(shortened)} are deleted.", err=True
        )
    return {partition: Span(found.start, found.stop) for partition, found in reaches.items()}


def _draw(figures: Figures, path: Path, text: str) -> None:
    from worker.jobs.plan.picture import write_picture  # noqa: PLC0415 - only with the extra

    if not figures.changes:
        click.echo("No picture: there is nothing to draw.", err=True)
        return
    try:
        write_picture(figures, path, text)
    except OSError as error:
        click.echo(f"Error: {path} cannot be written: {error.strerror}", err=True)
        sys.exit(UNFINISHED_EXIT)


def _lines(figures: Figures) -> Iterator[str]:
    users = ("" if figures.users_exact else "about ") + counted(figures.users, "user")
    yield f"{counted(figures.records, 'record')} with {counted(figures.changes, 'change')} of {users}{_span(figures)}"
    if figures.unreadable:
        yield f"{counted(figures.unreadable, 'record')} cannot be decoded: a dead letter each, and no call"
    if not figures.changes:
        yield "There is nothing to plan with: no change lies in the span."
        return
    yield f"limit: {figures.limit:g} calls a second"
    yield ""
    head = ("window", "calls", "saved", "mean/s", "p99/s", "max/s", "of limit", "longest delay", "held at most")
    rows = [_row(window, figures.changes) for window in figures.windows]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        yield "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
    yield ""
    for window in figures.windows:
        yield from _remarks(window)
    yield f"replicas: {figures.replicas.advice}."


def _row(window: WindowFigures, changes: int) -> tuple[str, ...]:
    pace = window.calls_per_second
    return (
        f"{window.seconds:g} s",
        f"{window.calls:,}",
        f"{window.calls_saved / changes:.0%}",
        f"{pace.mean:,.1f}",
        f"{pace.p99:,}",
        f"{pace.max:,}",
        f"{window.share_of_limit:.0%}",
        f"{window.delay_seconds_max:,.1f} s",
        f"{window.held_bytes_max / _MIB:,.1f} MiB",
    )


def _span(figures: Figures) -> str:
    if figures.began_ms is None:
        return ""
    began = datetime.fromtimestamp(figures.began_ms / 1000, UTC)
    return f", in {figures.span_seconds:,.0f} s from {began:%Y-%m-%dT%H:%M:%SZ} on"


def _remarks(window: WindowFigures) -> Iterator[str]:
    name = f"{window.seconds:g} s"
    if window.calls_late:
        fewer = window.calls - window.calls_at_limit
        yield (
            f"{name}: the limit holds {counted(window.calls_late, 'call')} back for more than a second, one for "
            f"{window.wait_seconds_max:,.1f} s."
            + (
                f" They take newer changes while they wait: {counted(window.calls_at_limit, 'call')} ({fewer:,} fewer)."
                if fewer
                else ""
            )
        )
    if window.calls_early:
        yield (
            f"{name}: {counted(window.calls_early, 'call')} made before the window ends: what waits does not fit into "
            "WORKER_WINDOW__MAX_BYTES of one replica."
        )
