"""Checks how long the source topics keep their records: what is deleted before it was read is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from worker.commands.check.finding import Finding, period
from worker.commands.check.timeouts import STOP_MS
from worker.kafka.configs import Configs, Untold, whole
from worker.kafka.properties import consumer_properties, milliseconds
from worker.settings.model import Settings

_NAMED_MAX: Final = 3


def check_retention(
    settings: Settings, topics: Mapping[str, Configs | Untold], brokers: Configs | Untold
) -> Iterator[Finding]:
    """One line for each finding, which names its topics: a pattern may match many."""
    topics_of: dict[Finding, list[str]] = {}
    for topic, configs in topics.items():
        for finding in _findings(settings, configs, brokers):
            topics_of.setdefault(finding, []).append(topic)
    for finding, names in topics_of.items():
        more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
        yield replace(finding, what=f"{', '.join(names[:_NAMED_MAX])}{more}: {finding.what}")


def _findings(settings: Settings, topic: Configs | Untold, brokers: Configs | Untold) -> list[Finding]:
    if isinstance(topic, Untold):
        return [Finding.warn("retention", f"not checked: its settings: {topic.why}", topic.mend)]
    keeps = _keeps_ms(topic)
    bad = [*_compaction(topic), *_size(topic)]
    if keeps is not None:
        bad += list(_time(settings, keeps)) or list(_transactions(settings, keeps, brokers))
    text = "keeps all records" if keeps is None else f"keeps its records for {period(keeps)}"
    return bad or [Finding.ok("retention", text)]


def _keeps_ms(topic: Configs) -> int | None:
    """None if age alone deletes nothing."""
    keeps = whole(topic, "retention.ms")
    return keeps if keeps is not None and keeps >= 0 and "delete" in topic.get("cleanup.policy", "delete") else None


def _time(settings: Settings, keeps: int) -> Iterator[Finding]:
    session = milliseconds(settings.kafka.properties, "session.timeout.ms")
    needed = int((settings.window.seconds + settings.shutdown.drain_seconds) * 1000) + session
    what = f"keeps its records for {period(keeps)} only (retention.ms)"
    if keeps < needed:
        yield Finding.fail(
            "retention",
            f"{what}; window, drain and session time-out together are {period(needed)}: one crash may lose changes",
            f"set its retention.ms to {STOP_MS} (a day) at least",
        )
    elif keeps < STOP_MS:
        yield Finding.warn(
            "retention",
            f"{what}: changes are lost if the worker stops or Attentive is out for longer",
            f"set its retention.ms to {STOP_MS} (a day) at least; a week outlasts most outages",
        )


def _size(topic: Configs) -> Iterator[Finding]:
    size = whole(topic, "retention.bytes")
    if size is not None and size >= 0 and "delete" in topic.get("cleanup.policy", "delete"):
        yield Finding.warn(
            "retention",
            f"deletes the oldest records of a partition above {size} bytes (retention.bytes), however young they are; "
            "no alert foretells that",
            "set its retention.bytes to -1, or so high that it holds some days of records",
        )


def _compaction(topic: Configs) -> Iterator[Finding]:
    if "compact" in topic.get("cleanup.policy", "") and (whole(topic, "min.compaction.lag.ms") or 0) < STOP_MS:
        yield Finding.warn(
            "retention",
            "is compacted (cleanup.policy): of a key's unread records only the latest remains. "
            "That is right only if each record holds all attributes of its user",
            f"if records hold only what changed: set cleanup.policy=delete, or min.compaction.lag.ms={STOP_MS}",
        )


def _transactions(settings: Settings, keeps: int, brokers: Configs | Untold) -> Iterator[Finding]:
    """Until a transaction ends, nobody who reads only what is committed reads past its first record."""
    if isinstance(brokers, Untold):
        return
    if consumer_properties(settings.kafka.properties)["isolation.level"] != "read_committed":
        return
    longest = whole(brokers, "transaction.max.timeout.ms")
    if longest is not None and longest >= keeps:
        yield Finding.warn(
            "retention",
            f"keeps its records for {period(keeps)}, and a producer may leave a transaction open for {period(longest)} "
            "(the brokers' transaction.max.timeout.ms): what stands behind it may be deleted before it can be read",
            "raise its retention.ms above that, or lower that setting of the brokers",
        )
