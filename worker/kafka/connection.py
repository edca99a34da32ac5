"""What every Kafka client of the worker has in common: properties, logs, and what is wrong with the connection.

librdkafka tells of a bad password, an untrusted certificate or unreachable brokers in `error_cb` alone: without
it, a misconfigured client looks exactly like an idle one.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from structlog.typing import FilteringBoundLogger

Properties = Mapping[str, str]
"""librdkafka properties, as a user writes them: `bootstrap.servers`, `sasl.mechanism`, …"""

_SHARED_DEFAULTS: Final[Properties] = {
    "client.id": "attribute-worker",
    # Brokers come and go in rolling restarts: the library's 10 s would add to every one of them.
    "reconnect.backoff.max.ms": "2000",
    # The worker says when a connection is lost, by `problem`; idle ones that brokers close are no news.
    "log.connection.close": "false",
    # The only evidence that brokers answer again while nothing is consumed or produced.
    "statistics.interval.ms": "5000",
    # A mistyped topic must be an error, not a new topic.
    "allow.auto.create.topics": "false",
}

_CONSUMER_DEFAULTS: Final[Properties] = {
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    # A new topic that a pattern matches, and new partitions, are found within this; the library's default is 5 minutes.
    "topic.metadata.refresh.interval.ms": "30000",
    # Together: without the short back-off a fast replay idles between refills of the local queue.
    "fetch.queue.backoff.ms": "10",
    "queued.min.messages": "20000",
    # Of all partitions together, outside the worker's own memory budget; the library's 64 MiB are much beside that.
    "queued.max.messages.kbytes": "16384",
    # A frozen broker is noticed, and another one asked, before the session is over.
    "socket.timeout.ms": "15000",
}

_PRODUCER_DEFAULTS: Final[Properties] = {
    "message.timeout.ms": "30000",
    # One letter a batch: a broker refuses a too large batch as a whole, and librdkafka does not split it, so that
    # small letters would be refused for the company they keep.
    "batch.num.messages": "1",
    "compression.type": "lz4",
    # The broker's own limit decides what is too large, not the client's 1 MB.
    "message.max.bytes": "10485760",
}

_TRUE: Final = frozenset({"true", "t", "1"})
_FALSE: Final = frozenset({"false", "f", "0"})

# Each rule: which values are refused (None: any), and what to do instead.
_REFUSED: Final[Mapping[str, tuple[Callable[[str], bool], str]]] = {
    "enable.auto.commit": (
        lambda value: value not in _FALSE,
        "the worker commits an offset only when everything before it is settled; remove it",
    ),
    "enable.auto.offset.store": (
        lambda value: value not in _FALSE,
        "the worker chooses the offsets it commits; remove it",
    ),
    "enable.idempotence": (
        lambda value: value not in _TRUE,
        "without it a dead letter may be lost or doubled by a retry; remove it",
    ),
    "acks": (
        lambda value: value not in {"all", "-1"},
        "a dead letter counts as written only when every in-sync replica has it; remove it or set all",
    ),
    "transactional.id": (
        lambda _: True,
        "the worker's producer is idempotent, not transactional; remove it",
    ),
    "bootstrap.servers": (lambda _: True, "set WORKER_KAFKA__BOOTSTRAP_SERVERS instead"),
    "group.id": (lambda _: True, "set WORKER_KAFKA__GROUP_ID instead"),
    "enable.partition.eof": (lambda _: True, "the worker does not read to an end; remove it"),
    "enabled_events": (lambda _: True, "it would take events from the worker's callbacks; remove it"),
    "max.in.flight.requests.per.connection": (
        lambda value: not (value.isdigit() and int(value) <= 5),  # noqa: PLR2004 - the protocol's own limit
        "an idempotent producer takes at most 5; remove it or set 1 to 5",
    ),
}
_ALIASES: Final[Mapping[str, str]] = {
    "metadata.broker.list": "bootstrap.servers",
    "request.required.acks": "acks",
    "max.in.flight": "max.in.flight.requests.per.connection",
}
# KIP-848: the group coordinator decides these, and librdkafka refuses to start when they are given.
_CLASSIC_ONLY: Final = (
    "partition.assignment.strategy",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "group.protocol.type",
)


def refused(properties: Properties) -> list[str]:
    """Name the properties that the worker's guarantees do not allow.

    Returns:
        One message for each, with the reason and what to do; empty when all is well. Values are not repeated,
        since a property may hold a secret.
    """
    messages = []
    for name, value in properties.items():
        rule = _REFUSED.get(_ALIASES.get(name, name))
        if rule is not None and rule[0](str(value).strip().lower()):
            messages.append(f"{name}: {rule[1]}")
    if uses_kip_848(properties):
        messages += [
            f"{name}: the broker decides it under group.protocol=consumer; remove it"
            for name in _CLASSIC_ONLY
            if name in properties
        ]
    return messages


def uses_kip_848(properties: Properties) -> bool:
    """Say whether the group is of the new protocol, which the brokers drive."""
    return str(properties.get("group.protocol", "classic")).strip().lower() == "consumer"


def consumer_properties(properties: Properties) -> dict[str, str]:
    """Complete a user's properties for a member of the group; what the guarantees rest on is set last."""
    classic = {} if uses_kip_848(properties) else {"partition.assignment.strategy": "cooperative-sticky"}
    return {
        **_SHARED_DEFAULTS,
        **_CONSUMER_DEFAULTS,
        **classic,
        **properties,
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
    }


def producer_properties(properties: Properties) -> dict[str, str]:
    """Complete a user's properties for the producer of dead letters."""
    return {
        **_SHARED_DEFAULTS,
        **_PRODUCER_DEFAULTS,
        **properties,
        "enable.idempotence": "true",
        "acks": "all",
    }


def admin_properties(properties: Properties) -> dict[str, str]:
    """Complete a user's properties for looking things up and creating topics."""
    return {**_SHARED_DEFAULTS, **properties}


class PropertiesRefused(ValueError):
    """librdkafka does not take the user's properties; the message says which and why."""


@contextmanager
def connecting() -> Iterator[None]:
    """Around the making of a client: librdkafka looks at the properties only then.

    Raises:
        PropertiesRefused: an unknown property, a value that it does not take, a file that cannot be read.
    """
    try:
        yield
    except KafkaException as failure:
        raise PropertiesRefused(f"kafka.properties: {failure.args[0].str()}") from None
    except (AttributeError, TypeError, ValueError) as failure:  # a callback's name, which only a program could give
        raise PropertiesRefused(f"kafka.properties: {failure}") from None


_ADVICE: Final[Mapping[int, str]] = {
    KafkaError._AUTHENTICATION: "authentication failed: check sasl.mechanism, sasl.username and sasl.password",  # noqa: SLF001 - the library's public names of its local errors start so
    KafkaError.SASL_AUTHENTICATION_FAILED: "authentication failed: check sasl.username and sasl.password",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "the broker does not offer this sasl.mechanism",
    KafkaError._SSL: "TLS failed: check security.protocol, ssl.ca.location and the certificates",  # noqa: SLF001 - as above
    KafkaError._RESOLVE: "a broker's host name cannot be resolved: check bootstrap.servers",  # noqa: SLF001 - as above
    KafkaError._ALL_BROKERS_DOWN: "no broker answers: check bootstrap.servers, security.protocol and the network",  # noqa: SLF001 - as above
    KafkaError._MSG_TIMED_OUT: "not acknowledged in time: is the topic there, with enough replicas in sync?",  # noqa: SLF001 - as above
    KafkaError._TRANSPORT: "the connection to a broker broke or was refused",  # noqa: SLF001 - as above
    KafkaError._AUTO_OFFSET_RESET: "no offset to begin at, and auto.offset.reset says not to choose one",  # noqa: SLF001 - as above
    KafkaError.INVALID_RECORD: "the topic takes no record without a key: is it compacted? Set cleanup.policy to delete",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "not authorised for the topic: check the ACLs",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "not authorised for the consumer group: check the ACLs",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "not authorised for the cluster: check the ACLs",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "the topic does not exist: create it or check its name",
    KafkaError._UNKNOWN_TOPIC: "the topic does not exist: create it or check its name",  # noqa: SLF001 - as above
}


def in_words(error: KafkaError) -> str:
    """Describe an error with what to do about it, the library's own text after it."""
    advice = _ADVICE.get(error.code())
    return f"{advice} ({error.str()})" if advice else f"{error.name()}: {error.str()}"


@dataclass(slots=True)
class RateLimit:
    """Lets one line of each kind through in every `seconds`; an outage makes hundreds."""

    seconds: float
    _last: dict[object, float]

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self._last = {}

    def allows(self, kind: object) -> bool:
        """Say whether a line of this kind may be written now, and count it if so."""
        now = time.monotonic()
        if now - self._last.get(kind, float("-inf")) < self.seconds:
            return False
        self._last[kind] = now
        return True


class Connection:
    """What is wrong between a client and its brokers, in words; heard from librdkafka's callbacks.

    All callbacks run inside a call to the client (`poll`, `consume`), so in the thread that makes it.
    """

    def __init__(
        self,
        role: str,
        log: FilteringBoundLogger,
        on_statistics: Callable[[Mapping[str, Any]], None] | None = None,
        on_topic_gone: Callable[[KafkaError], None] | None = None,
    ) -> None:
        self.problem: str | None = None
        """The latest cause, until a broker is seen to answer; None when all is well."""
        self.fatal: str | None = None
        """An error that no retry mends: the client must be made anew."""
        self._on_statistics = on_statistics
        self._on_topic_gone = on_topic_gone
        self._role = role
        self._log = log
        self._limit = RateLimit()
        self._detail: str | None = None

    def callbacks(self) -> dict[str, object]:
        """Configuration entries that make a client report here."""
        return {"error_cb": self.failed, "stats_cb": self._measured, "logger": self}

    def failed(self, error: KafkaError) -> None:
        """Take in an error of the client itself, not of one topic or record."""
        words = in_words(error)
        # error_cb gives a fatal error this code, without the flag that the error behind it has.
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - the library's public names of its local errors start so
            self.fatal = words
        match error.code():
            case KafkaError._TRANSPORT:  # noqa: SLF001 - the library's names of its local errors start so
                # One broker's connection; the text says which and why, and explains an outage that follows.
                self._detail = error.str()
                self.problem = self.problem or words
            case KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - as above
                # A consequence: a cause that is known (a bad password) says more.
                if self._detail is not None or self.problem is None:
                    self.problem = f"{_ADVICE[error.code()]} ({self._detail or error.str()})"
            case KafkaError.UNKNOWN_TOPIC_OR_PART if self._on_topic_gone is not None:
                # No trouble of the connection: a broker that answers does not mend it.
                self._on_topic_gone(error)
                return
            case KafkaError._UNKNOWN_PARTITION if self._on_topic_gone is not None:  # noqa: SLF001 - as above
                return  # comes with the former, or with a topic that was made anew
            case _:
                self.problem, self._detail = words, None
        if self._limit.allows(error.code()):
            self._log.warning("kafka client error", client=self._role, code=error.name(), error=words)

    def answered(self) -> None:
        """Note that a broker just answered: whatever was wrong is not any more."""
        if self.problem is not None and self.fatal is None:
            self.problem = self._detail = None
            self._log.info("kafka connection is well again", client=self._role)

    def _measured(self, statistics: str) -> None:
        measured = json.loads(statistics)
        if any(broker["state"] == "UP" for broker in measured["brokers"].values()):
            self.answered()
        if self._on_statistics is not None:
            self._on_statistics(measured)

    def log(self, level: int, _format: str, facility: str, client: str, text: str) -> None:
        """Take one of librdkafka's own log lines; the signature is that of `logging.Logger.log`."""
        # The user's properties serve consumer, producer and admin alike: each warns of the others' share.
        if facility == "CONFWARN" and " property and will be ignored by " in text:
            return
        # Errors of the connection come here and by error_cb; there they are in words.
        if facility in {"FAIL", "ERROR"} or not self._limit.allows((level, facility)):
            return
        self._log.log(
            min(level, logging.WARNING), "librdkafka", client=self._role, facility=facility, text=text, handle=client
        )
