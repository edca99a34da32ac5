"""Rules between several settings, or between a setting and the machine it is used on.

A rule yields the settings it looked at and what is wrong. If the value of one of them was refused already, the loader
drops the finding: mending that value may mend both.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from worker.kafka.known import one_name
from worker.kafka.patterns import PatternRefused, is_pattern, matcher
from worker.kafka.properties import DEFAULTS_MS, Properties, milliseconds, refused, uses_kip_848
from worker.settings.event_rules import EVENT_RULES
from worker.settings.finding import Finding, cut, trouble
from worker.settings.model import Settings
from worker.settings.values import is_host

_WORDS = re.compile(r"[\w.]*\w")
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
# As librdkafka reads it: a protocol may stand before the host, and the port may be left out.
_BROKER = re.compile(
    r"((plaintext|ssl|sasl_plaintext|sasl_ssl)://)?(?P<host>\[[0-9a-f:.]+\]|[^\s:/\[\]]+)(:\d{1,5})?", re.IGNORECASE
)


def findings(settings: Settings) -> Iterator[Finding]:
    """Yields every broken rule."""
    for rule in _RULES:
        yield from rule(settings)


def _token(settings: Settings) -> Iterator[Finding]:
    names = ("attentive.token", "attentive.token_file")
    token, token_file = settings.attentive.token, settings.attentive.token_file
    if token and token_file:
        yield Finding(names, "attentive.token and attentive.token_file are both set; keep one")
    elif not token and not token_file:
        text = "a token is required: set WORKER_ATTENTIVE__TOKEN_FILE (the path of a file) or WORKER_ATTENTIVE__TOKEN"
        yield Finding(names, text)
    if token and not re.fullmatch(r"[!-~]+", token.get_secret_value()):
        text = "holds a space or another character that no token contains; copy it again"
        yield Finding(("attentive.token",), text)
    if token_file and not token_file.is_absolute() and trouble(token_file, os.F_OK) is not None:
        text = "names no file here; give its whole path (the token itself belongs in WORKER_ATTENTIVE__TOKEN)"
        yield Finding(("attentive.token_file",), text)
    # The file itself may come later, or be missing for a moment while it is replaced.
    elif token_file and (found := trouble(token_file.parent, os.X_OK, is_directory=True)) is not None:
        yield Finding(("attentive.token_file",), f"the directory {found}; mend the path")


def _base_url(settings: Settings) -> Iterator[Finding]:
    parts = urlsplit(settings.attentive.base_url)
    if parts.scheme == "http" and not settings.attentive.allow_plain_http and not _is_loopback(parts.hostname or ""):
        names = ("attentive.base_url", "attentive.allow_plain_http")
        text = "would send the token unencrypted; use https, or set attentive.allow_plain_http to true"
        yield Finding(names, text)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _retries(settings: Settings) -> Iterator[Finding]:
    if settings.attentive.retry_base_seconds > settings.attentive.retry_max_seconds:
        names = ("attentive.retry_base_seconds", "attentive.retry_max_seconds")
        yield Finding(names, "is above attentive.retry_max_seconds; lower it or raise that")


def _brokers(settings: Settings) -> Iterator[Finding]:
    """Librdkafka accepts any text here, and then waits for ever for brokers that it cannot reach."""
    for number, broker in enumerate(settings.kafka.bootstrap_servers.split(","), 1):
        found = _BROKER.fullmatch(broker.strip())
        if found is None or not is_host(found["host"].strip("[]")):
            text = f"number {number} in the list is not a broker: give host:port, separated by commas"
            yield Finding(("kafka.bootstrap_servers",), text)


def _topics(settings: Settings) -> Iterator[Finding]:
    for topic in settings.kafka.topics:
        if not is_pattern(topic):
            if not _TOPIC.fullmatch(topic):
                text = "is not a topic name: letters, digits, '.', '_' and '-' only; a pattern starts with ^"
                yield Finding(("kafka.topics",), f"{cut(topic)!r} {text}")
            continue
        try:
            matcher(topic, kip_848=uses_kip_848(settings.kafka.properties))
        except PatternRefused as why:
            yield Finding(("kafka.topics",), f"the pattern {cut(topic)!r}: {why}")


def _dead_letter_topic(settings: Settings) -> Iterator[Finding]:
    yield from _not_read(settings, "kafka.dead_letter_topic", settings.kafka.dead_letter_topic, "dead letters")


def _receipt_topic(settings: Settings) -> Iterator[Finding]:
    receipts = settings.receipts.topic
    if receipts is None:
        return
    yield from _not_read(settings, "receipts.topic", receipts, "receipts")
    if receipts == settings.kafka.dead_letter_topic:
        names = ("receipts.topic", "kafka.dead_letter_topic")
        yield Finding(names, "is kafka.dead_letter_topic as well; name another topic")


def _not_read(settings: Settings, name: str, written: str, what: str) -> Iterator[Finding]:
    """The worker must not read a topic that it writes."""
    names = (name, "kafka.topics")
    for topic in settings.kafka.topics:
        if topic == written:
            yield Finding(names, f"is one of kafka.topics: the worker would read its own {what}; name another topic")
        elif is_pattern(topic) and _matches(topic, written, settings.kafka.properties):
            text = (
                f"matches the pattern {topic!r} of kafka.topics: the worker would read its own {what}; "
                "name another topic, or narrow the pattern (end it with $)"
            )
            yield Finding(names, text)


def _matches(pattern: str, topic: str, properties: Properties) -> bool:
    try:
        return matcher(pattern, kip_848=uses_kip_848(properties))(topic)
    except PatternRefused:
        return False  # the rule for topics reports it


def _properties(settings: Settings) -> Iterator[Finding]:
    for name, why in refused(settings.kafka.properties).items():
        yield _of_property(name, why)


def _of_property(name: str, why: str) -> Finding:
    return Finding(("kafka.properties",), f"{name}: {why}", name)


def _oauth(settings: Settings) -> Iterator[Finding]:
    """OAUTHBEARER needs tokens from somewhere. Without any, librdkafka says no more than that no broker answers."""
    kafka = settings.kafka
    given = {one_name(name): value.strip().lower() for name, value in kafka.properties.items()}
    mechanism = given.get(one_name("sasl.mechanism"), "")
    if kafka.oauth is None:
        sources = (given.get("sasl.oauthbearer.method") == "oidc", given.get("enable.sasl.oauthbearer.unsecure.jwt"))
        if mechanism == "oauthbearer" and not any(sources):
            text = (
                "sasl.mechanism: OAUTHBEARER has no source of tokens; set sasl.oauthbearer.method=oidc and its "
                "token.endpoint.url, client.id and client.secret, or WORKER_KAFKA__OAUTH to a function"
            )
            yield Finding(("kafka.properties", "kafka.oauth"), text)
        return
    if mechanism != "oauthbearer":
        text = "is used with OAUTHBEARER only; set sasl.mechanism=OAUTHBEARER in kafka.properties, or remove this"
        yield Finding(("kafka.oauth", "kafka.properties"), text)
    if given.get("sasl.oauthbearer.method") == "oidc":
        text = "sasl.oauthbearer.method=oidc in kafka.properties gives tokens, too; keep one of them"
        yield Finding(("kafka.oauth", "kafka.properties"), text)
    module = kafka.oauth.partition(":")[0]
    if not _is_module(module):
        yield Finding(
            ("kafka.oauth",), f"there is no module {module}; put its folder on PYTHONPATH, or correct the name"
        )


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a package around it is missing
        return False


def _clients(settings: Settings) -> Iterator[Finding]:
    """What librdkafka refuses, if the other rules find nothing in the properties."""
    given = settings.kafka.properties
    others = (finding for rule in (_properties, _deadlines) for finding in rule(settings))
    if given and not any("kafka.properties" in finding.names for finding in others):
        from worker.kafka.proof import refusal  # noqa: PLC0415 - loads librdkafka: `--help` and most starts need not wait

        if (why := refusal({**given, "group.id": settings.kafka.group_id})) is not None:
            words = set(map(one_name, _WORDS.findall(why)))
            about = next((name for name in given if one_name(name) in words), "")
            yield Finding(("kafka.properties", "kafka.group_id"), why, about)


def _deadlines(settings: Settings) -> Iterator[Finding]:
    """A drain, a request or a lease must end before Kafka gives the partitions to another replica."""
    properties = settings.kafka.properties
    times: dict[str, int] = {}
    for name in DEFAULTS_MS:
        try:
            times[name] = milliseconds(properties, name)
        except ValueError as error:
            yield Finding(("kafka.properties",), str(error), name)
    if (poll := times.get("max.poll.interval.ms")) is not None:
        yield from _below("shutdown.drain_seconds", settings.shutdown.drain_seconds, "max.poll.interval.ms", poll)
    if (session := times.get("session.timeout.ms")) is None:
        return
    if times.get("heartbeat.interval.ms", 0) >= session:
        yield _of_property("heartbeat.interval.ms", "must be below session.timeout.ms; a third of it is usual")
    kip_848 = uses_kip_848(properties)
    if "max.poll.interval.ms" in times and times["max.poll.interval.ms"] < session:
        yield _of_property("session.timeout.ms", "must not be above max.poll.interval.ms; lower it")
    timeout = settings.attentive.timeout_seconds
    yield from _below("attentive.timeout_seconds", timeout, "session.timeout.ms", session, fixed=kip_848)
    # Under KIP-848 the brokers set the session time-out, so it is not known here.
    if (lease := settings.kafka.lease_seconds) is not None and not kip_848:
        yield from _below("kafka.lease_seconds", lease, "session.timeout.ms", session)


def _below(
    name: str, seconds: float, property_name: str, property_ms: int, *, fixed: bool = False
) -> Iterator[Finding]:
    """The setting must be below the property. `fixed`: the property cannot be raised."""
    if seconds * 1000 >= property_ms:
        advice = "lower it" if fixed else "lower it or raise that property"
        text = f"must be below {property_name} ({property_ms / 1000:g} s); {advice}"
        yield Finding((name, "kafka.properties"), text)


_RULES: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _brokers,
    _topics,
    _dead_letter_topic,
    _receipt_topic,
    _properties,
    *EVENT_RULES,
    _base_url,
    _token,
    _retries,
    _deadlines,
    _oauth,
    _clients,
)
