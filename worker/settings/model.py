"""Every setting: its name, type, default, bounds and meaning. Those of what a record is are in `events`.

No other module repeats a default of these.

The environment variables, the flags, `attribute-worker config` and docs/settings.md's table are made from these models.
Users read the descriptions; a description states the trade-off if there is one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from worker.kafka import known
from worker.kafka.properties import DEFAULTS_MS
from worker.settings.events import AttributeSettings, IdentitySettings, MappingSettings, SchemaSettings, Section
from worker.settings.values import (
    ANY_CASE,
    EMPTY_IS_NONE,
    Count,
    Host,
    Number,
    OptionalId,
    OptionalPath,
    Properties,
    PropertyFiles,
    PropertyPairs,
    Secret,
    Text,
    Texts,
    Url,
)

_LEASE_SECONDS = (DEFAULTS_MS["session.timeout.ms"] - DEFAULTS_MS["heartbeat.interval.ms"]) / 1000


class KafkaSettings(Section):
    """The cluster, the topics and the consumer group."""

    bootstrap_servers: Text = Field(description="brokers to connect to first, as for librdkafka: `host:port,host:port`")
    topics: Texts = Field(
        default=("profile-changes",),
        min_length=1,
        description="topics to read, comma-separated or a JSON list; a name that starts with `^` is a pattern "
        "(one with a comma in it needs the JSON list): a POSIX extended regular expression that is found in the name, "
        "or, with `group.protocol=consumer`, an RE2 one that matches the whole name",
    )
    group_id: Text = Field(default="attribute-worker", max_length=249, description="consumer group of all replicas")
    dead_letter_topic: str = Field(
        default="profile-changes.dead-letter",
        pattern=r"^[a-zA-Z0-9._-]{1,249}$",
        description="topic for changes that cannot be delivered; the worker creates it if it may",
    )
    properties: Annotated[PropertyPairs, Properties(known.KNOWN)] = Field(
        default={},
        repr=False,
        description="further librdkafka properties (TLS, SASL, OAuth, `group.protocol` …), as a JSON object; those "
        "that would break the worker's guarantees are refused",
    )
    properties_file: OptionalPath = Field(
        default=None,
        description="file of further librdkafka properties, in the form of Java's `.properties` and in UTF-8; read at "
        "the start; a property that is given in two places is refused",
    )
    property_files: PropertyFiles = Field(
        default={},
        description="from names of librdkafka properties to files that hold one value each, as a JSON object: "
        '`{"sasl.password": "/run/secrets/kafka/password"}`; one line end at the end is not part of the value; read '
        "at the start",
    )
    oauth: Annotated[str | None, EMPTY_IS_NONE] = Field(
        default=None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description="`module:function` on Python's path that gives tokens for SASL/OAUTHBEARER: called with the text "
        "of `sasl.oauthbearer.config`, it returns the token and when it expires, in seconds since 1970. For Amazon MSK "
        "with IAM: `worker.kafka.msk:token`, with the extra `msk`",
    )
    commit_interval_seconds: Number = Field(
        default=1.0,
        ge=0.1,
        le=60,
        description="pause between offset commits; longer means less load on the brokers, but more calls repeated "
        "after a crash",
    )
    lease_seconds: Annotated[Number | None, EMPTY_IS_NONE] = Field(
        default=None,
        gt=0,
        le=3_600,
        description="a worker that was frozen or cut off from the brokers for longer than this sends nothing until it "
        "has rejoined the group; must be below the group's session time-out. Default: `session.timeout.ms` minus "
        f"`heartbeat.interval.ms`, {_LEASE_SECONDS:g} s. With `group.protocol=consumer` the brokers set the session "
        "time-out: set this to match",
    )


class WindowSettings(Section):
    """How long and how much to hold back for coalescing."""

    seconds: Number = Field(
        default=5.0,
        ge=0,
        le=86_400,
        description="time from a user's first waiting change to the call; 0 sends at once, longer saves more calls",
    )
    max_bytes: Count = Field(
        default=268_435_456,
        ge=65_536,
        le=1_099_511_627_776,
        description="memory budget for everything that waits or is remembered; above it partitions are paused, below "
        "80 % of it resumed",
    )


class SparingSettings(Section):
    """Leaving out what the destination holds already."""

    users_max: Count = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="users whose acknowledged values are remembered, so that an unchanged value is left out of a call, "
        "and a call of only unchanged ones is not made; 0 is off. They take at most half of "
        "`WORKER_WINDOW__MAX_BYTES`, and give way to changes that wait",
    )
    seconds: Number = Field(
        default=86_400.0,
        gt=0,
        le=2_592_000,
        description="a value whose call is older than this is sent again even if it is unchanged: so what another "
        "system or `dead-letters redrive --force` has written over it is mended",
    )


class AttentiveSettings(Section):
    """The destination, and how to call it."""

    base_url: Url = Field(
        default="https://api.attentivemobile.com/v1",
        description="the API's URL, without a slash at the end; plain `http` only to a loopback address",
    )
    allow_plain_http: bool = Field(
        default=False, description="allow plain `http` to any host; the token then travels unencrypted"
    )
    token: Annotated[SecretStr | None, EMPTY_IS_NONE, Secret()] = Field(
        default=None,
        repr=False,
        description="API token with the scope `attributes:write`; this or `TOKEN_FILE` is required",
    )
    token_file: OptionalPath = Field(
        default=None, description="file with the token; read again when it changes, and before a halt ends"
    )
    company_id: OptionalId = Field(
        default=None,
        description="id of the company that the token must belong to: `attribute-worker check` prints it, and fails if "
        "it is another; `run` does not ask",
    )
    requests_per_second: Number = Field(
        default=150.0,
        gt=0,
        le=10_000,
        description="rate limit of the token, for all replicas together; each gets a share by its number of partitions",
    )
    concurrency: Count = Field(default=32, ge=1, le=512, description="requests in flight, per replica")
    timeout_seconds: Number = Field(
        default=10.0,
        ge=0.1,
        le=120,
        description="time-out of a whole request, not of one read; below `session.timeout.ms`",
    )
    connection_age_max_seconds: Number = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="a connection that is older takes no further call; the next one looks the host's name up anew",
    )
    retry_base_seconds: Number = Field(
        default=0.5,
        gt=0,
        le=60,
        description="longest pause before the first retry; doubles with each retry, with full jitter",
    )
    retry_max_seconds: Number = Field(default=30.0, gt=0, le=3_600, description="longest pause before a retry")
    retry_after_max_seconds: Number = Field(
        default=300.0,
        ge=1,
        le=86_400,
        description="longest `Retry-After` to obey; a longer one is cut to this",
    )
    probe_max_seconds: Number = Field(
        default=10.0, gt=0, le=600, description="longest pause between probes during a halt or an outage of the API"
    )
    server_error_seconds: Number = Field(
        default=300.0,
        ge=1,
        le=86_400,
        description="how long one user's calls may fail while others succeed; then its changes are dead-lettered",
    )
    calls_per_entry_max: Count = Field(
        default=40, ge=2, le=1_000, description="most calls to find the refused attributes among one user's changes"
    )


class StormSettings(Section):
    """When many dead letters mean a broken producer or destination rather than bad data."""

    letters_max: Count = Field(
        default=40,
        ge=1,
        le=1_000_000,
        description="after so many dead letters in a row without a success, the worker writes no more of them and "
        "halts with `rejection_storm`; restarts do not reset the count, so raise this if the letters are right",
    )
    share_max: Number = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="largest lasting share of dead letters among all outcomes; a larger one ends in that halt too",
    )


class ShutdownSettings(Section):
    """How the worker stops."""

    drain_seconds: Number = Field(
        default=20.0,
        gt=0,
        le=3_600,
        description="deadline for flush, drain and commit together, at a stop or a revoke; below "
        "`max.poll.interval.ms` and the pod's grace period",
    )


class ReceiptSettings(Section):
    """What is written down of calls that were made."""

    topic: Annotated[str | None, EMPTY_IS_NONE] = Field(
        default=None,
        pattern=r"^[a-zA-Z0-9._-]{1,249}$",
        description="topic that gets a receipt of each call, for `explain`: positions, names of attributes, times and "
        "status, never a value or an identifier; the worker creates it if it may, and goes on without it if it may not",
    )


class HttpSettings(Section):
    """The server for health, metrics and status."""

    # Probes and scrapes come from outside the pod. Nothing served there changes state.
    host: Host = Field(
        default="::",
        description="listen address for health, metrics and status; `::` is every address, of IPv6 and of IPv4",
    )
    port: Count = Field(
        default=8080,
        ge=0,
        le=65_535,
        description="port for health, metrics and status; 0 picks a free one, and logs it",
    )


class LogSettings(Section):
    """What to log, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error"], ANY_CASE] = Field(
        default="info", description="`debug`, `info`, `warning` or `error`"
    )
    format: Annotated[Literal["auto", "json", "console"], ANY_CASE] = Field(
        default="auto", description="`json`, `console`, or `auto`: `console` on a terminal, else `json`"
    )


class Settings(Section):
    """The whole configuration, frozen. `worker.settings.load.load` makes it from its sources, and checks the rules."""

    kafka: KafkaSettings
    schemas: SchemaSettings = SchemaSettings()
    mapping: MappingSettings = MappingSettings()
    identity: IdentitySettings = IdentitySettings()
    window: WindowSettings = WindowSettings()
    sparing: SparingSettings = SparingSettings()
    attentive: AttentiveSettings = AttentiveSettings()
    attributes: AttributeSettings = AttributeSettings()
    storm: StormSettings = StormSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    receipts: ReceiptSettings = ReceiptSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
