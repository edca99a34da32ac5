"""`/`: the status as a page for people. One self-contained document. All text from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from worker.core.counted import counted
from worker.core.totals import Totals
from worker.ops.history import LastMinute, Step
from worker.ops.page import tables
from worker.ops.page.charts import charts
from worker.ops.page.headline import Headline, headline
from worker.ops.page.style import STYLE
from worker.ops.page.words import NONE, duration, moment, per_second, size
from worker.ops.runbook import FOLDER
from worker.ops.status import Rate, Status

_REFRESH_SECONDS = 5


def render(
    status: Status,
    since: datetime,
    steps: Sequence[Step | None],
    minute: LastMinute,
    *,
    now: datetime,
    stall: str | None,
    refresh: bool,
) -> str:
    """The whole document.

    Args:
        status: what to show.
        since: when the state last changed.
        steps: what happened in the last half hour.
        minute: what happened in the last minute.
        now: when the request came.
        stall: why the main loop counts as stalled, in words: the status is old then. None if it turns.
        refresh: whether the browser should reload the page regularly.
    """
    first = headline(status, since, now, stall)
    again = f'<meta http-equiv="refresh" content="{_REFRESH_SECONDS}">' if refresh else ""
    who = f"version {escape(status.version)} · instance {escape(status.instance)} · group {escape(status.group_id)}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{again}
<title>{escape(first.word)} · attribute-worker {escape(status.instance)}</title>
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>attribute-worker</h1>
<p class="soft">{who}</p>
</header>
<main>
{_first(first, now)}
{_now(status, minute)}
<section aria-labelledby="charts"><h2 id="charts">The last 30 minutes</h2>
<div class="charts">
{charts(steps, status.held_bytes_max)}
</div></section>
{_destination(status, minute, now)}
{tables.partitions(status.partitions)}
{tables.counts("Dead letters", "reason", status.totals.dead_letters, nothing="None.")}
{tables.latest_letters(status.latest_dead_letters, now)}
{_totals(status.totals)}
{tables.counts("Replies", "status", status.totals.replies, nothing="None yet.")}
{tables.settings({name: _setting(name, value) for name, value in status.settings.items()})}
</main>
{_footer(now, refresh=refresh)}
</body>
</html>
"""


def _footer(now: datetime, *, refresh: bool) -> str:
    other = '<a href="?refresh=off">stop</a>' if refresh else '<a href="?">refresh by itself</a>'
    rhythm = f"Refreshed every {_REFRESH_SECONDS} s ({other})." if refresh else f"Not refreshed ({other})."
    return f"""<footer><p class="soft">As of {moment(now)}. {rhythm}
The same for programs: <a href="status">/status</a>, <a href="metrics">/metrics</a>,
<a href="readyz">/readyz</a>, <a href="livez">/livez</a>.</p></footer>"""


def _first(first: Headline, now: datetime) -> str:
    why = "".join(f"<p>{escape(line)}</p>" for line in first.why)
    age = duration((now - first.since).total_seconds())
    page = f"{FOLDER}/{first.page}.md"
    link = f'<p><a href="{escape(page)}">Runbook: {escape(first.page)}</a></p>' if first.page else ""
    return f"""<section class="state {first.tone}" aria-labelledby="state">
<p class="sentence" id="state">{escape(first.sentence)}</p>
<dl>
{f"<dt>Why</dt><dd>{why}</dd>" if why else ""}
<dt>Since</dt><dd>{moment(first.since)}, for {age}</dd>
<dt>What to do</dt><dd><p>{escape(_sentence(first.to_do))}</p>{link}</dd>
</dl></section>"""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def _now(status: Status, minute: LastMinute) -> str:
    lags = [partition.lag for partition in status.partitions]
    known = [lag for lag in lags if lag is not None]
    oldest = status.oldest_undelivered_seconds
    users = counted(status.open_entries, "user")
    budget = size(status.held_bytes_max) if status.held_bytes_max else NONE
    return f"""<section aria-labelledby="now"><h2 id="now">Now</h2>
<dl class="cards">
{_item("Lag", f"{sum(known):,}" if known else NONE, "records, over all assigned partitions")}
{_item("Oldest undelivered", NONE if oldest is None else duration(oldest), "by its record's timestamp")}
{_item("Records", _rate_of(minute.records, minute), "read, in the last minute")}
{_item("Rate", _rate(status.rate), _rate_note(status))}
{_item("In flight", f"{status.in_flight:,}", f"calls, for {users} with changes not settled")}
{_item("Held", size(status.held_bytes), f"in memory, of {budget}")}
</dl></section>"""


def _rate(rate: Rate) -> str:
    share = f"{rate.share:.1f}"
    return share if rate.current is None or rate.current >= rate.share else f"{rate.current:.1f} of {share}"


def _rate_note(status: Status) -> str:
    note = f"calls a second, of {status.rate.limit:g} for the token"
    if status.rate.current != 0.0 or not status.rate.share:
        return note
    return f"{note}: {'a halt lets only single probes go' if status.halt else 'a pause that it asked for'}"


def _rate_of(count: int, minute: LastMinute) -> str:
    return per_second(count / minute.seconds) if minute.seconds else NONE


def _destination(status: Status, minute: LastMinute, now: datetime) -> str:
    ended, delivered = sum(minute.calls.values()), minute.calls.get("delivered", 0)
    error, halt = status.last_error, status.halt
    last = (NONE, "since the start")
    if error is not None:
        last = (escape(error.detail), f"{duration((now - error.at).total_seconds())} ago, {moment(error.at)}")
    probe = (NONE, "only during a halt" if halt is None else "it is being asked, or need not be")
    if halt is not None and halt.next_probe is not None:
        probe = (f"in {duration((halt.next_probe - now).total_seconds())}", moment(halt.next_probe))
    return f"""<section aria-labelledby="destination"><h2 id="destination">Destination</h2>
<dl class="cards text">
{_item("Calls go to", escape(status.destination) or NONE, "a redirect is never followed")}
{_item("In the last minute", _rate_of(ended, minute), f"{counted(ended, 'call')} ended, {delivered:,} delivered")}
{_item("Last error", *last)}
{_item("Next probe", *probe)}
</dl></section>"""


def _totals(totals: Totals) -> str:
    ratio, tombstones = totals.saved_ratio, counted(totals.tombstones, "tombstone")
    saved = "of the calls that one call per event would take"
    return f"""<section aria-labelledby="totals"><h2 id="totals">Since the start</h2>
<dl class="cards">
{_item("Calls saved", NONE if ratio is None else f"{ratio:.1%}", saved)}
{_item("Calls", f"{totals.calls:,}", f"{totals.calls_saved:,} saved, {totals.retries:,} repeated")}
{_item("Entries delivered", f"{totals.delivered_entries:,}", "one user's changes each")}
{_item("Records", f"{totals.records:,}", f"{tombstones}, {totals.ignored:,} without effect")}
{_item("Changes", f"{totals.changes:,}", f"{counted(totals.passed_over, 'attribute')} passed over by a rule")}
{_item("Without an order", f"{totals.shared_users:,}", "changes of users that several partitions hold")}
</dl></section>"""


def _item(term: str, value: str, note: str) -> str:
    """A card. `value` and `note` are markup."""
    return f"<div><dt>{term}</dt><dd>{value} <small>{note}</small></dd></div>"


def _setting(name: str, value: object) -> str:
    """A setting's value for people."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, str):
        return value
    return size(value) if name.endswith("_bytes") and isinstance(value, int) else f"{value:g}"
