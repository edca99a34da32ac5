"""What the dashboard asks, from top to bottom: is it delivering, what holds it back, who is refused, what does it cost.

In the expressions, `{HERE}` stands for the workers that the reader chose, and `[RATE]` for a range that fits the zoom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: its latest value, orange and red from these values on."""

    title: str
    meaning: str
    expression: str
    unit: str = "short"
    orange: float | None = None
    red: float | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """Lines over time: an expression for each legend."""

    title: str
    meaning: str
    lines: dict[str, str]
    unit: str = "short"
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A question, and what answers it."""

    question: str
    figures: Sequence[Figure]
    graphs: Sequence[Graph]


def _quantiles(histogram: str) -> dict[str, str]:
    buckets = f"sum by (le) (rate({histogram}_bucket{{HERE}}[RATE]))"
    return {
        "median": f"histogram_quantile(0.5, {buckets})",
        "99 %": f"histogram_quantile(0.99, {buckets})",
    }


# Other processes have such metrics, too.
_OURS = "and on (namespace, job, instance) attribute_worker_info{HERE}"

_DELIVERING = Row(
    "Is it delivering?",
    [
        Figure(
            "Oldest change",
            "Age of the oldest change that was read and is not delivered.",
            "max(attribute_worker_partition_oldest_undelivered_seconds{HERE})",
            "s",
            300,
            900,
        ),
        Figure(
            "Delivered",
            "Users' entries a second.",
            "sum(rate(attribute_worker_delivered_entries_total{HERE}[RATE]))",
        ),
        Figure(
            "Lag", "Records between the committed offsets and the ends.", "sum(attribute_worker_partition_lag{HERE})"
        ),
        Figure(
            "Replicas halted",
            "They hold everything back; the graph of halts says why.",
            "sum(attribute_worker_halted{HERE})",
            red=1,
        ),
        Figure(
            "Replicas not ready",
            "Starting, halted, draining, or not in the group.",
            "count(attribute_worker_ready{HERE} == 0) or vector(0)",
            orange=1,
        ),
        Figure(
            "Partitions that nobody reads",
            "More than 0 for a moment at each rebalance.",
            "max(attribute_worker_partitions_subscribed{HERE}) - sum(attribute_worker_partitions_held{HERE})",
            red=1,
        ),
    ],
    [
        Graph(
            "Oldest change that is not delivered",
            "By topic. If it reaches the topic's retention, changes are lost.",
            {"{{topic}}": "max by (topic) (attribute_worker_partition_oldest_undelivered_seconds{HERE})"},
            "s",
        ),
        Graph(
            "Age at delivery",
            "From the record's timestamp to the call's success.",
            _quantiles("attribute_worker_delivery_age_seconds"),
            "s",
        ),
        Graph(
            "From records to calls",
            "A second. What lies between changes and calls is what coalescing saves.",
            {
                "records": "sum(rate(attribute_worker_records_total{HERE}[RATE]))",
                "changes": "sum(rate(attribute_worker_changes_total{HERE}[RATE]))",
                "calls": "sum(rate(attribute_worker_calls_total{HERE}[RATE]))",
                "delivered": "sum(rate(attribute_worker_delivered_entries_total{HERE}[RATE]))",
            },
            "cps",
        ),
        Graph("Lag", "Records, by topic.", {"{{topic}}": "sum by (topic) (attribute_worker_partition_lag{HERE})"}),
    ],
)

_HELD_BACK = Row(
    "What holds it back?",
    [
        Figure(
            "Rate in use",
            "Calls made, of those that the rate allowed. At 100 % more replicas do not help.",
            "sum(rate(attribute_worker_calls_total{HERE}[RATE]))"
            " / sum(rate(attribute_worker_calls_allowed_total{HERE}[RATE]))",
            "percentunit",
            0.9,
        ),
        Figure(
            "Fullest memory",
            "Held bytes, of the budget. At 100 % partitions are paused.",
            "max(attribute_worker_held_bytes{HERE} / attribute_worker_held_max_bytes{HERE})",
            "percentunit",
            0.8,
            1,
        ),
        Figure(
            "Age, of retention",
            "At 100 % Kafka deletes changes that are not delivered.",
            "max(max by (topic) (attribute_worker_partition_oldest_undelivered_seconds{HERE})"
            " / max by (topic) (attribute_worker_topic_retention_seconds{HERE}))",
            "percentunit",
            0.5,
            0.8,
        ),
        Figure(
            "Paused partitions",
            "At the memory budget, or for a schema.",
            "sum(attribute_worker_partition_paused{HERE})",
            orange=1,
        ),
    ],
    [
        Graph(
            "Halts",
            "Replicas that hold back, by reason.",
            {"{{reason}}": "sum by (reason) (attribute_worker_halted{HERE})"},
            stacked=True,
        ),
        Graph(
            "Problems",
            "Replicas with a problem, by kind.",
            {"{{kind}}": "sum by (kind) (attribute_worker_problem{HERE})"},
            stacked=True,
        ),
        Graph(
            "Rate",
            "Calls a second: the token's limit, the replicas' shares, what they allow themselves, what they make.",
            {
                "limit": "max(attribute_worker_rate_limit{HERE})",
                "shares": "sum(attribute_worker_rate_share{HERE})",
                "allowed now": "sum(attribute_worker_rate_current{HERE})",
                "made": "sum(rate(attribute_worker_calls_total{HERE}[RATE]))",
            },
            "reqps",
        ),
        Graph(
            "Replies",
            "A second, by HTTP status or the kind of failure.",
            {"{{status}}": "sum by (status) (rate(attribute_worker_replies_total{HERE}[RATE]))"},
            "reqps",
            stacked=True,
        ),
        Graph(
            "Time of a call",
            "From request to reply or failure.",
            _quantiles("attribute_worker_call_duration_seconds"),
            "s",
        ),
        Graph(
            "Held memory",
            "By replica.",
            {
                "{{instance}}": "sum by (instance) (attribute_worker_held_bytes{HERE})",
                "budget": "max(attribute_worker_held_max_bytes{HERE})",
            },
            "bytes",
        ),
        Graph(
            "Partitions",
            "Held by each replica, and all that there are.",
            {
                "{{instance}}": "sum by (instance) (attribute_worker_partitions_held{HERE})",
                "all": "max(attribute_worker_partitions_subscribed{HERE})",
            },
        ),
        Graph(
            "Rebalances and drains",
            "In five minutes. A drain that was cut left work to the next owner.",
            {
                "{{kind}}": "sum by (kind) (increase(attribute_worker_rebalances_total{HERE}[5m]))",
                "drain {{result}}": "sum by (result) (increase(attribute_worker_drains_total{HERE}[5m]))",
            },
        ),
    ],
)

_REFUSED = Row(
    "Who is refused?",
    [
        Figure(
            "Dead letters in an hour",
            "Changes that were given up.",
            "sum(increase(attribute_worker_dead_letters_total{HERE}[1h]))",
            orange=1,
        ),
        Figure(
            "Withheld letters",
            "They wait for good records.",
            "sum(attribute_worker_dead_letters_withheld{HERE})",
            orange=1,
        ),
        Figure(
            "Refused values in an hour",
            "Attentive refused them alone.",
            "sum(increase(attribute_worker_refused_attributes_total{HERE}[1h]))",
            orange=1,
        ),
        Figure(
            "Deleted unread in a day",
            "Offsets that Kafka deleted before they were read.",
            "sum(increase(attribute_worker_records_deleted_unread_total{HERE}[1d])) or vector(0)",
            red=1,
        ),
    ],
    [
        Graph(
            "Dead letters",
            "In five minutes, by reason.",
            {"{{reason}}": "sum by (reason) (increase(attribute_worker_dead_letters_total{HERE}[5m]))"},
            stacked=True,
        ),
        Graph(
            "Letters that could not be written",
            "In five minutes, by reason. Each is tried again.",
            {"{{reason}}": "sum by (reason) (increase(attribute_worker_dead_letter_failures_total{HERE}[5m]))"},
            stacked=True,
        ),
        Graph(
            "Calls by what became of them",
            "A second.",
            {"{{outcome}}": "sum by (outcome) (rate(attribute_worker_calls_ended_total{HERE}[RATE]))"},
            "reqps",
            stacked=True,
        ),
        Graph(
            "Passed over by a rule",
            "A second: no letter, no call.",
            {
                "attributes": "sum(rate(attribute_worker_passed_over_attributes_total{HERE}[RATE]))",
                "records without effect": "sum(rate(attribute_worker_ignored_records_total{HERE}[RATE]))",
            },
            "cps",
        ),
    ],
)

_COST = Row(
    "What does it cost?",
    [],
    [
        Graph(
            "Calls that coalescing saved",
            "Of all that the changes would have taken.",
            {
                "saved": "sum(rate(attribute_worker_calls_saved_total{HERE}[RATE]))"
                " / sum(rate(attribute_worker_changes_total{HERE}[RATE]))"
            },
            "percentunit",
        ),
        Graph("CPU", "By replica.", {"{{instance}}": f"rate(process_cpu_seconds_total{{HERE}}[RATE]) {_OURS}"}),
        Graph(
            "Resident memory",
            "By replica.",
            {"{{instance}}": f"process_resident_memory_bytes{{HERE}} {_OURS}"},
            "bytes",
        ),
        Graph(
            "Age of the process",
            "A line that falls to 0 is a restart.",
            {"{{instance}}": f"time() - process_start_time_seconds{{HERE}} {_OURS}"},
            "s",
        ),
    ],
)

ROWS = (_DELIVERING, _HELD_BACK, _REFUSED, _COST)
