"""Says in words what is wrong with a client's connection to its brokers.

librdkafka reports a bad password, an untrusted certificate or unreachable brokers only to `error_cb`. Without that
callback, a misconfigured client looks exactly like an idle one.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from structlog.typing import FilteringBoundLogger

from worker.logs import LogLimiter


class PropertiesRefused(ValueError):
    """librdkafka refuses the user's properties. The message says which one and why."""


@contextmanager
def connecting() -> Iterator[None]:
    """Use it around the construction of a client: that is when librdkafka checks the properties.

    Raises:
        PropertiesRefused: An unknown property, an invalid value, or a file that cannot be read.
    """
    try:
        yield
    except KafkaException as failure:
        raise PropertiesRefused(f"kafka.properties: {failure.args[0].str()}") from None
    except (AttributeError, TypeError, ValueError) as failure:  # a callback's name: it needs a function, not text
        raise PropertiesRefused(f"kafka.properties: {failure}") from None
    except SystemError:  # the library's fault: it does not check what it encodes
        raise PropertiesRefused("kafka: a setting or property is not text (UTF-8); write it again") from None


_ADVICE: Final[Mapping[int, str]] = {
    KafkaError._AUTHENTICATION: "authentication failed: check sasl.mechanism, sasl.username and "  # noqa: SLF001 - how the library names its local errors, which are public
    "sasl.password, or kafka.oauth",
    KafkaError.SASL_AUTHENTICATION_FAILED: "authentication failed: check sasl.username and sasl.password",
    KafkaError.UNSUPPORTED_SASL_MECHANISM: "the broker does not offer this sasl.mechanism",
    KafkaError._SSL: "TLS failed: check security.protocol, ssl.ca.location and the certificates",  # noqa: SLF001 - as above
    KafkaError._RESOLVE: "a broker's host name cannot be resolved: check bootstrap.servers",  # noqa: SLF001 - as above
    KafkaError._ALL_BROKERS_DOWN: "no broker answers: check bootstrap.servers, security.protocol and the network",  # noqa: SLF001 - as above
    KafkaError._MSG_TIMED_OUT: "not acknowledged in time: is the topic there, with enough replicas in sync?",  # noqa: SLF001 - as above
    KafkaError._TRANSPORT: "the connection to a broker broke or was refused",  # noqa: SLF001 - as above
    KafkaError._AUTO_OFFSET_RESET: "no committed offset, and auto.offset.reset=error says not to choose one",  # noqa: SLF001 - as above
    KafkaError.INVALID_RECORD: "the topic refuses records without a key: is it compacted? Set cleanup.policy to delete",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "not authorised for the topic: grant the worker READ on what it reads, "
    "WRITE on what it writes",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "not authorised for the consumer group: grant the worker READ on it",
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: "the group has members that assign partitions in another way: give all the "
    "same partition.assignment.strategy and group.protocol, or stop the old ones first",
    KafkaError.GROUP_MAX_SIZE_REACHED: "the group is full: run fewer replicas, or raise the brokers' group.max.size",
    KafkaError.INVALID_SESSION_TIMEOUT: "the brokers refuse session.timeout.ms: set it between their "
    "group.min.session.timeout.ms and group.max.session.timeout.ms",
    KafkaError.INVALID_REGULAR_EXPRESSION: "the brokers cannot read a pattern in kafka.topics: write it as RE2 does",
    KafkaError.UNSUPPORTED_ASSIGNOR: "the brokers do not know group.remote.assignor: remove it",
    KafkaError.UNRELEASED_INSTANCE_ID: "another member has this group.instance.id: give each replica its own",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "not authorised for the cluster: check the ACLs",
    KafkaError.UNKNOWN_TOPIC_OR_PART: "the topic does not exist: create it or check its name",
    KafkaError._NOENT: "the topic or the partition does not exist: check its name and number",  # noqa: SLF001 - as above
    KafkaError._BAD_COMPRESSION: "this client cannot unpack the next batch: it is damaged, or larger than "  # noqa: SLF001 - as above
    "receive.message.max.bytes (100 MB by default). Raise that; or write its records again in smaller batches, stop "
    "the group and set its offset behind the batch",
    KafkaError._BAD_MSG: "the next batch is damaged. If its records are needed, write them again; then stop the "  # noqa: SLF001 - as above
    "group and set its offset behind the batch",
    KafkaError._UNKNOWN_TOPIC: "the topic does not exist: create it or check its name",  # noqa: SLF001 - as above
    KafkaError._UNKNOWN_PARTITION: "the topic has lost its partitions: create it again if it was deleted",  # noqa: SLF001 - as above
}

_ANOTHER_PROTOCOL: Final = (
    "the listener of bootstrap.servers speaks another protocol than security.protocol says: set PLAINTEXT, SSL, "
    "SASL_PLAINTEXT or SASL_SSL, as that listener has it"
)
_CLOSED_AT_ONCE: Final = f"{_ANOTHER_PROTOCOL} (it takes each connection and closes it at once)"
# librdkafka has no code for these. TLS at a listener without it; SASL at a listener without that.
_PROTOCOL_TEXTS: Final = ("connecting to a PLAINTEXT broker listener?", "Request not valid in current SASL state")

# So the coordinator answers a member that it does not let into the group. Other requests are answered all the same.
_REFUSALS: Final = frozenset(
    {
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.INCONSISTENT_GROUP_PROTOCOL,
        KafkaError.GROUP_MAX_SIZE_REACHED,
        KafkaError.INVALID_SESSION_TIMEOUT,
        KafkaError.INVALID_REGULAR_EXPRESSION,
        KafkaError.UNSUPPORTED_ASSIGNOR,
        KafkaError.UNRELEASED_INSTANCE_ID,
    }
)


# librdkafka's texts end so. The numbers differ each time, though the trouble is the same.
_WHEN: Final = re.compile(r" \(after \d+ms in state \w+(, \d+ identical error\(s\) suppressed)?\)$")


def in_words(error: KafkaError) -> str:
    """Says what happened and what to do about it, with librdkafka's own text in brackets."""
    advice = _ADVICE.get(KafkaError._SSL if _is_tls(error) else error.code())  # noqa: SLF001 - how the library names its local errors, which are public
    if any(text in error.str() for text in _PROTOCOL_TEXTS):
        advice = _ANOTHER_PROTOCOL
    return f"{advice} ({_text(error)})" if advice else f"{error.name()}: {_text(error)}"


def _text(error: KafkaError) -> str:
    return _WHEN.sub("", error.str())


def _is_tls(error: KafkaError) -> bool:
    """Whether TLS failed. A broker refuses a client's certificate by an alert, once the handshake is over."""
    return error.code() == KafkaError._SSL or "SSL alert number" in error.str()  # noqa: SLF001 - as above


class Connection:
    """Listens to one client's callbacks, and says what is wrong between it and its brokers.

    librdkafka runs all callbacks inside a call to the client (`poll`, `consume`), so in the thread that makes the call.
    """

    def __init__(
        self,
        role: str,
        log: FilteringBoundLogger,
        on_statistics: Callable[[Mapping[str, Any]], None] | None = None,
        on_topic_gone: Callable[[KafkaError], None] | None = None,
    ) -> None:
        self.problem: str | None = None
        """The latest problem. None if all is well: an answer from a broker clears it."""
        self.refusal: str | None = None
        """Why the group does not let this client join. An answer from a broker does not clear it, `joined` does."""
        self.fatal: str | None = None
        """An error that no retry can mend: the client must be replaced."""
        self._on_statistics = on_statistics
        self._on_topic_gone = on_topic_gone
        self._role = role
        self._log = log
        self._limit = LogLimiter()
        self._detail: str | None = None
        self._met = False  # a broker has answered at least once, so the protocol is right

    def callbacks(self) -> dict[str, object]:
        """The entries of a client's configuration that make it report here."""
        return {"error_cb": self.failed, "stats_cb": self._take_statistics, "logger": self}

    def failed(self, error: KafkaError) -> None:
        """Takes an error of the client as a whole, not of one topic or record."""
        words = in_words(error)
        # error_cb passes a fatal error with this code, but without the flag that `fatal()` reads.
        if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - how the library names its local errors, which are public
            self.fatal = words
        match error.code():
            case code if code in _REFUSALS:
                self.refusal = words  # the reporter logs it once a minute, as long as it lasts
                return
            case KafkaError._TRANSPORT if not _is_tls(error):  # noqa: SLF001 - how the library names its local errors, which are public
                # One broker's connection. Keep the text: if an outage follows, it explains that.
                self._detail = _text(error)
                if self.problem in {None, _CLOSED_AT_ONCE} or words.startswith(_ANOTHER_PROTOCOL):
                    self.problem = words
            case KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - as above
                words = self.problem = self._why_all_are_down(error)
            case KafkaError.UNKNOWN_TOPIC_OR_PART if self._on_topic_gone is not None:
                # Not a problem of the connection: an answer from a broker does not mend it.
                self._on_topic_gone(error)
                return
            case KafkaError._UNKNOWN_PARTITION if self._on_topic_gone is not None:  # noqa: SLF001 - as above
                return  # follows the case above, or a topic that was created again
            case _:
                self.problem, self._detail = words, None
        if self._limit.allows(error.code(), time.monotonic()):
            self._log.warning("kafka_client_error", client=self._role, code=error.name(), error=words)

    def _why_all_are_down(self, error: KafkaError) -> str:
        """A consequence of something else. Keeps a known cause (a bad password): it says more than this."""
        if self._detail is None and not self._met:
            return self.problem or _CLOSED_AT_ONCE  # librdkafka is silent about connections that a broker closes
        if self.problem and (self._detail is None or self.problem.startswith(_ANOTHER_PROTOCOL)):
            return self.problem
        return f"{_ADVICE[error.code()]} ({self._detail or _text(error)})"

    def answered(self) -> None:
        """A broker has just answered, so whatever was wrong is over."""
        self._met = True
        self._is_well()

    def _is_well(self) -> None:
        if self.problem is not None and self.fatal is None:
            self.problem = self._detail = None
            self._log.info("kafka_well_again", client=self._role)

    def joined(self) -> None:
        """The group has let this client join."""
        self.refusal = None
        self.answered()

    def _take_statistics(self, statistics: str) -> None:
        try:
            measured = json.loads(statistics)
        except ValueError:
            return  # librdkafka does not escape all that it writes there; the next ones may be readable
        if any(broker["state"] == "UP" for broker in measured["brokers"].values()):
            self._is_well()  # not `answered`: a connection without the password that it needs is up for a moment, too
        if self._on_statistics is not None:
            self._on_statistics(measured)

    def log(self, level: int, _format: str, facility: str, client: str, text: str) -> None:
        """Takes one of librdkafka's own log lines. The signature is that of `logging.Logger.log`."""
        # Consumer, producer and admin client share the user's properties, and each warns about the others' ones.
        if facility == "CONFWARN" and " property and will be ignored by " in text:
            return
        # Connection errors arrive here and in error_cb, which logs them in words.
        if facility in {"FAIL", "ERROR"} or not self._limit.allows((level, facility), time.monotonic()):
            return
        self._log.log(
            min(level, logging.WARNING), "librdkafka", client=self._role, facility=facility, text=text, handle=client
        )
