"""`/`: the status as a page for people. One self-contained document. All text from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape

from worker.core.totals import Totals
from worker.ops.status import PartitionStatus, Rate, State, Status, rfc3339

_REFRESH_SECONDS = 5
_NONE = "–"  # noqa: RUF001 - an en dash stands for a missing value
_KIBIBYTE = 1024

_STYLE = """
:root { color-scheme: light dark; --bg: #fff; --fg: #1b1f24; --soft: #57606a; --line: #d0d7de; --card: #f6f8fa;
  --good: #116329; --warn: #7d4e00; --bad: #a40e26; }
@media (prefers-color-scheme: dark) { :root { --bg: #0d1117; --fg: #e6edf3; --soft: #9aa4af; --line: #30363d;
  --card: #161b22; --good: #56d364; --warn: #e3b341; --bad: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 68rem; padding: 1.5rem; background: var(--bg); color: var(--fg);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.1rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } .soft, dt, th { color: var(--soft); } a { color: inherit; } time { white-space: nowrap; }
.state { border: 1px solid var(--line); border-left: .5rem solid var(--tone); border-radius: .4rem;
  background: var(--card); padding: 1rem 1.25rem; margin: 1rem 0; }
.state strong { font-size: 1.8rem; line-height: 1.2; color: var(--tone); }
.good { --tone: var(--good); } .warn { --tone: var(--warn); } .bad { --tone: var(--bad); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .5rem; margin: 0; }
dl div { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .75rem; }
dt { font-size: .85rem; } dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
dd small { color: var(--soft); font-size: .85rem; display: block; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; min-width: 20rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .75rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; font-size: .85rem; } .name { text-align: left; } caption { text-align: left; padding: 0; }
"""

_TONES = {
    State.STARTING: "warn",
    State.RUNNING: "good",
    State.THROTTLED: "warn",
    State.HALTED: "bad",
    State.DRAINING: "warn",
}

_MEANINGS = {
    State.STARTING: "Not delivering yet.",
    State.RUNNING: "Delivering.",
    State.THROTTLED: "Delivering, but slowed: the destination asks for it.",
    State.HALTED: "Calls or dead letters are held back. Nothing is lost, and they resume once the cause is gone.",
    State.DRAINING: "Stopping: delivers and commits what it has read.",
}


def render(status: Status, since: datetime, *, now: datetime, stall: str | None, refresh: bool) -> str:
    """The whole document.

    Args:
        status: what to show.
        since: when the state last changed.
        now: when the request came.
        stall: why the main loop counts as stalled, in words: the status is old then. None if it turns.
        refresh: whether the browser should reload the page regularly.
    """
    word = "stalled" if stall else status.state.value
    again = f'<meta http-equiv="refresh" content="{_REFRESH_SECONDS}">' if refresh else ""
    other = '<a href="/?refresh=off">stop</a>' if refresh else '<a href="/">refresh by itself</a>'
    rhythm = f"Refreshed every {_REFRESH_SECONDS} s ({other})." if refresh else f"Not refreshed ({other})."
    who = f"version {escape(status.version)} · instance {escape(status.instance)} · group {escape(status.group_id)}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{again}
<title>{escape(word)} · attribute-worker {escape(status.instance)}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>attribute-worker</h1>
<p class="soft">{who}</p>
</header>
<main>
{_state(status, since, now, stall)}
{_now(status)}
{_totals(status.totals)}
{_counts("Dead letters", "reason", status.totals.dead_letters, nothing="None.")}
{_counts("Replies", "status", status.totals.replies, nothing="None yet.")}
{_partitions(status.partitions)}
</main>
<footer><p class="soft">As of <time datetime="{rfc3339(now)}">{rfc3339(now)}</time>. {rhythm}
The same for programs: <a href="/status">/status</a>, <a href="/metrics">/metrics</a>,
<a href="/readyz">/readyz</a>, <a href="/livez">/livez</a>.</p></footer>
</body>
</html>
"""


def _state(status: Status, since: datetime, now: datetime, stall: str | None) -> str:
    word, tone, lines = status.state.value, _TONES[status.state], [_MEANINGS[status.state]]
    if stall is not None:
        word, tone, lines = "stalled", "bad", [stall, "What follows is from before."]
    elif status.halt is not None:
        word, since = f"{word}: {status.halt.reason}", status.halt.since
        lines = [status.halt.detail, *lines]
    if not status.joined:
        lines.append("Not a member of the consumer group.")
        tone = "warn" if tone == "good" else tone
    if status.problem:
        lines.append(status.problem)
        tone = "warn" if tone == "good" else tone
    age = duration((now - since).total_seconds())
    moment = f'<time datetime="{rfc3339(since)}">{rfc3339(since)}</time>'
    paragraphs = "\n".join(f"<p>{escape(line)}</p>" for line in lines)
    return f"""<section class="state {tone}" aria-label="State">
<p><strong>{escape(word)}</strong> <span class="soft">for {age}, since {moment}</span></p>
{paragraphs}
</section>"""


def _now(status: Status) -> str:
    lags = [partition.lag for partition in status.partitions]
    known = [lag for lag in lags if lag is not None]
    ages = [p.oldest_undelivered_seconds for p in status.partitions if p.oldest_undelivered_seconds is not None]
    return f"""<section aria-labelledby="now"><h2 id="now">Now</h2>
<dl>
{_item("Lag", f"{sum(known):,}" if known else _NONE, "records, over all assigned partitions")}
{_item("Oldest undelivered", duration(max(ages)) if ages else _NONE, "by its record's timestamp")}
{_item("Rate", _rate(status.rate), f"calls a second, of {status.rate.limit:g} for the token")}
{_item("In flight", f"{status.in_flight:,}", "calls")}
{_item("Open entries", f"{status.open_entries:,}", "users with changes not settled")}
{_item("Held", size(status.held_bytes), "in memory")}
</dl></section>"""


def _rate(rate: Rate) -> str:
    share = f"{rate.share:.1f}"
    return share if rate.current is None or rate.current >= rate.share else f"{rate.current:.1f} of {share}"


def _totals(totals: Totals) -> str:
    ratio = totals.saved_ratio
    saved = "of the calls that one call per event would take"
    return f"""<section aria-labelledby="totals"><h2 id="totals">Since the start</h2>
<dl>
{_item("Calls saved", _NONE if ratio is None else f"{ratio:.1%}", saved)}
{_item("Calls", f"{totals.calls:,}", f"{totals.calls_saved:,} saved, {totals.retries:,} repeated")}
{_item("Entries delivered", f"{totals.delivered_entries:,}", "one user's changes each")}
{_item("Records", f"{totals.records:,}", f"{totals.tombstones:,} tombstones, {totals.ignored:,} without effect")}
{_item("Changes", f"{totals.changes:,}", f"{totals.passed_over:,} attributes passed over by a rule")}
{_item("Without an order", f"{totals.shared_users:,}", "changes of users that several partitions hold")}
</dl></section>"""


def _item(term: str, value: str, note: str) -> str:
    return f"<div><dt>{term}</dt><dd>{value} <small>{note}</small></dd></div>"


def _counts(title: str, label: str, counts: Mapping[str, int], *, nothing: str) -> str:
    rows = [_row([key], [f"{count:,}"]) for key, count in sorted(counts.items()) if count]
    return _table(title, _head([label], ["count"]), rows, nothing=nothing)


def _partitions(partitions: Iterable[PartitionStatus]) -> str:
    head = _head(["topic", "partition"], ["lag", "oldest undelivered", "committed", "position", "end", "reading"])
    rows = [_row([each.topic, str(each.partition)], _partition_cells(each)) for each in partitions]
    return _table("Partitions", head, rows, nothing="None assigned.")


def _partition_cells(partition: PartitionStatus) -> list[str]:
    age = partition.oldest_undelivered_seconds
    return [
        _NONE if partition.lag is None else f"{partition.lag:,}",
        _NONE if age is None else duration(age),
        *(
            _NONE if offset is None else f"{offset:,}"
            for offset in (partition.committed, partition.position, partition.end)
        ),
        "paused" if partition.paused else "yes",
    ]


def _head(names: Iterable[str], numbers: Iterable[str]) -> str:
    left = "".join(f'<th scope="col" class="name">{name}</th>' for name in names)
    return left + "".join(f'<th scope="col">{name}</th>' for name in numbers)


def _row(names: Iterable[str], cells: Iterable[str]) -> str:
    left = "".join(f'<th scope="row" class="name">{escape(name)}</th>' for name in names)
    return left + "".join(f"<td>{escape(cell)}</td>" for cell in cells)


def _table(title: str, head: str, rows: Iterable[str], *, nothing: str) -> str:
    anchor = title.lower().replace(" ", "-")
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    if not body:
        return f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{title}</h2><p>{nothing}</p></section>'
    # Focusable, so that a keyboard can scroll it where the screen is narrow.
    return f"""<section class="scroll" tabindex="0" aria-labelledby="{anchor}">
<table><caption><h2 id="{anchor}">{title}</h2></caption>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody></table></section>"""


def duration(seconds: float) -> str:
    """A duration for people: its two largest units."""
    whole = int(max(seconds, 0))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def size(count: float) -> str:
    """A number of bytes for people, in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if count < _KIBIBYTE:
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _KIBIBYTE
    return f"{count:.1f} GiB"
