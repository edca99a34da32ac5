"""How the demo looks: a live view in a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from worker.commands.demo.figures import Figures
from worker.commands.demo.proof import Finding

_LINE_EVERY_SECONDS: Final = 1.0
_NOTES_SHOWN: Final = 6
_BAR_WIDTH: Final = 24
_SPARK_WIDTH: Final = 24
_NAME_WIDTH: Final = 12
_VALUE_WIDTH: Final = 9
_TIME_WIDTH: Final = 6
_WIDE: Final = 76  # narrower terminals get no bar and no spark line
_SLOWED: Final = 0.9  # of the share: a little less is the worker's own margin
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_TONES: Final = {"running": "green", "throttled": "yellow", "halted": "red"}


class View(Protocol):
    """Shows the progress of the demo."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def figures(self, figures: Figures) -> None:
        """Takes the latest figures."""

    def note(self, seconds: float, text: str) -> None:
        """Takes a line about something that happened."""


def choose() -> View:
    """A live view if stdout is a terminal that can be redrawn and shows Unicode, else plain lines."""
    console = Console()
    if sys.stdout.isatty() and not console.is_dumb_terminal and console.encoding.lower().startswith("utf"):
        return LiveView(console)
    return PlainView()


class PlainView:
    """Prints a line per second, and one for each thing that happens."""

    def __init__(self) -> None:
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.stdout.flush()

    def figures(self, figures: Figures) -> None:
        """Prints the figures if a second has passed since the last time."""
        if figures.seconds < self._next:
            return
        self._next = figures.seconds + _LINE_EVERY_SECONDS
        self._line(
            figures.seconds,
            f"{figures.state:<9} events {figures.events_produced:>6,}  calls {figures.calls:>5,}  "
            f"saved {figures.calls_saved:>6,}  lag {figures.lag:>5,}  rate {figures.rate_allowed:>5.1f}/s  "
            f"429: {figures.answered_429:<4} 500: {figures.answered_500:<4} "
            f"dead letters {sum(figures.dead_letters.values())}",
        )

    def note(self, seconds: float, text: str) -> None:
        """Prints it."""
        self._line(seconds, f"- {text}")

    def _line(self, seconds: float, text: str) -> None:
        print(f"{seconds:5.1f} s  {text}".rstrip(), flush=True)  # noqa: T201 - the demo writes to stdout


class LiveView:
    """Shows the figures in fixed places, and the latest events below."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._figures: Figures | None = None
        self._notes: list[tuple[float, str]] = []
        # Redrawn by this thread when there are new figures, not by rich's own thread.
        self._live = Live(get_renderable=self.render, console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def figures(self, figures: Figures) -> None:
        """Redraws the view."""
        self._figures = figures
        self._live.refresh()

    def note(self, seconds: float, text: str) -> None:
        """Adds a line below, and drops the oldest. It shows at the next redraw."""
        self._notes = [*self._notes, (seconds, text)][-_NOTES_SHOWN:]

    def render(self) -> RenderableType:
        """The current view. Its height never changes, so that nothing moves."""
        figures = self._figures
        if figures is None:
            return Text("starting")
        wide = self._console.width >= _WIDE
        return Group(self._head(figures), Text(), self._rows(figures, pictures=wide), Text(), self._happened())

    def _head(self, figures: Figures) -> RenderableType:
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append("attribute-worker demo", "bold")
        head.append(f"  {figures.seconds:4.1f} s", "dim")
        return head

    def _rows(self, figures: Figures, *, pictures: bool) -> Table:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, style="dim", min_width=_NAME_WIDTH)
        table.add_column(no_wrap=True, justify="right", min_width=_VALUE_WIDTH)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        for name, value, note in self._lines(figures, pictures=pictures):
            table.add_row(name, value, note)
        return table

    def _lines(self, figures: Figures, *, pictures: bool) -> list[tuple[str, Text, Text]]:
        share = figures.events_produced / figures.events_planned
        progress = Text(f"of {figures.events_planned:,}", "dim")
        calls = Text("to Attentive", "dim")
        if pictures:
            progress = Text.assemble(_bar(share), "  ", progress)
            calls = Text.assemble((f"{_spark(figures.calls_by_second):<{_SPARK_WIDTH}}", "cyan"), ("  a second", "dim"))
        saved = Text(f"{figures.saved_ratio:.0%} of one call per event" if figures.calls_saved else "", "dim")
        letters = ", ".join(f"{reason} {count}" for reason, count in sorted(figures.dead_letters.items()))
        slowed = figures.rate_allowed < _SLOWED * figures.rate_share
        return [
            ("events in", Text(f"{figures.events_produced:,}", "bold"), progress),
            ("calls out", Text(f"{figures.calls:,}", "bold"), calls),
            ("calls saved", Text(f"{figures.calls_saved:,}", "bold green"), saved),
            ("lag", Text(f"{figures.lag:,}"), Text(f"events not committed, {figures.users_waiting:,} users", "dim")),
            (
                "rate",
                Text(f"{figures.rate_allowed:.0f}/s", "yellow" if slowed else ""),
                Text(f"allowed now, of {figures.rate_share:.0f}/s" if figures.rate_share else "", "dim"),
            ),
            ("429", _count(figures.answered_429), Text("too many requests, each retried", "dim")),
            ("500", _count(figures.answered_500), Text("server error, each retried", "dim")),
            ("dead letters", Text(f"{sum(figures.dead_letters.values()):,}"), Text(letters, "dim")),
            ("worker", Text(figures.state, _TONES.get(figures.state, "")), Text(figures.halt or "", "dim")),
        ]

    def _happened(self) -> RenderableType:
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(justify="right", no_wrap=True, style="dim", min_width=_TIME_WIDTH)
        table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
        for seconds, text in self._notes:
            table.add_row(f"{seconds:.1f} s", text)
        for _ in range(_NOTES_SHOWN - len(self._notes)):
            table.add_row("", "")  # keeps the height
        return table


def _count(answers: int) -> Text:
    return Text(f"{answers:,}", "yellow" if answers else "")


def _bar(share: float) -> Text:
    full = round(min(1.0, share) * _BAR_WIDTH)
    return Text.assemble(("━" * full, "cyan"), ("━" * (_BAR_WIDTH - full), "bright_black"))


def _spark(counts: Sequence[int]) -> str:
    """The latest counts as a row of blocks."""
    shown = counts[-_SPARK_WIDTH:]
    top = max(shown, default=0) or 1
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, count * len(_BLOCKS) // (top + 1))] for count in shown)


def conclude(findings: Sequence[Finding], summary: Sequence[str]) -> None:
    """Prints the proof. It looks the same in a terminal and in a pipe."""
    console = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)
    console.print()
    for finding in findings:
        word, tone = ("ok", "green") if finding.ok else ("DIFFERS", "bold red")
        console.print(Text.assemble((f"{word:<8}", tone), f"{finding.name:<13} {finding.text}"))
    console.print()
    for line in summary:
        console.print(line)
