"""Every setting: its name, type, default, bounds and meaning. No other module repeats a default of these.

The environment variables, the flags, `attribute-worker config` and the table in README.md are made from these models.
Users read the descriptions; a description states the trade-off if there is one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from worker.core.events.mapping import Mapping
from worker.core.rules.policy import FORBIDDEN
from worker.kafka.properties import DEFAULTS_MS
from worker.settings.values import (
    ANY_CASE,
    AS_LIST,
    DISTINCT,
    EMPTY_IS_NONE,
    Count,
    FieldPath,
    Number,
    OptionalPath,
    OptionalUrls,
    Pairs,
    PropertyPairs,
    Secret,
    Text,
    Texts,
    Url,
)

Identifier = Literal["phone", "email", "client_user_id", "custom"]

# Its defaults fit the bundled schema.
_MAPPING = Mapping()
_LEASE_SECONDS = (DEFAULTS_MS["session.timeout.ms"] - DEFAULTS_MS["heartbeat.interval.ms"]) / 1000


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


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
    properties: PropertyPairs = Field(
        default={},
        repr=False,
        description="further librdkafka properties (TLS, SASL, OAuth, `group.protocol` …), as a JSON object; those "
        "that would break the worker's guarantees are refused",
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


class SchemaSettings(Section):
    """Where Avro schemas come from."""

    registry_url: OptionalUrls = Field(
        default=None, repr=False, description="Confluent-compatible schema registry; several URLs comma-separated"
    )
    registry_properties: PropertyPairs = Field(
        default={},
        repr=False,
        description="the registry client's own settings (`basic.auth.user.info`, `ssl.ca.location` …), as JSON",
    )
    framing: Annotated[Literal["confluent", "none"], ANY_CASE] = Field(
        default="confluent",
        description="`confluent`: magic byte 0 and a 4-byte schema id; `none`: bare Avro, one writer schema",
    )
    writer_schema: OptionalPath = Field(
        default=None, description="path of the schema that records were written with, if framing is `none`"
    )
    reader_schema: OptionalPath = Field(
        default=None,
        description="path of a schema to read all records with; none: each is read with the schema it was written with",
    )
    directory: OptionalPath = Field(default=None, description="instead of a registry: a directory of `<id>.avsc` files")


class MappingSettings(Section):
    """Where the fields are in the event. `worker.core.events.mapping.Mapping` has the details.

    The defaults fit `schemas/profile_changed.avsc`. An empty path means that there is no such field.
    """

    phone: FieldPath = Field(
        default=_MAPPING.phone,
        description="path of the phone number, with dots; here and below: `|` separates alternatives, empty means none",
    )
    email: FieldPath = Field(default=_MAPPING.email, description="path of the email address")
    client_user_id: FieldPath = Field(default=_MAPPING.client_user_id, description="path of the client user id")
    custom_identifiers: FieldPath = Field(
        default=_MAPPING.custom_identifiers,
        description="path of an array of {name, value} records, or of a map; or `name=path` pairs, comma-separated",
    )
    attributes: FieldPath = Field(
        default=_MAPPING.attributes,
        min_length=1,
        description="path of a map, or of a record whose scalar fields to take (`after.*`; `*` means the event itself)",
    )
    occurred_at: FieldPath = Field(default=_MAPPING.occurred_at, description="path of the time of the change")
    event_id: FieldPath = Field(default=_MAPPING.event_id, description="path of the event's id")
    exclude: Texts = Field(
        default=(),
        description="name patterns of attributes to leave out, by their names in the event (before prefix and rename)",
    )
    prefix: str = Field(
        default="", max_length=200, description="put before each attribute's name, except those in `RENAME`"
    )
    rename: Pairs = Field(default={}, description="from names in the event to new attribute names, as a JSON object")
    ignore_when_null: FieldPath = Field(
        default="", description="path; a record in which it is null is skipped, for example `after` in a CDC delete"
    )


class IdentitySettings(Section):
    """Which identifier names a user.

    If two events name one person by different identifiers, the worker sees two users.
    """

    order: Annotated[tuple[Identifier, ...], AS_LIST, DISTINCT] = Field(
        default=("phone", "email", "client_user_id", "custom"),
        min_length=1,
        description="the first one that an event has names the user, for coalescing and order; one person in two "
        "events with different identifiers counts as two users",
    )
    send: Annotated[Literal["first", "all"], ANY_CASE] = Field(
        default="first",
        description="`first`: send only the identifier that names the user; `all`: send every identifier of the event",
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
        description="memory budget for everything that waits; above it partitions are paused, below 80 % of it resumed",
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


class AttributeSettings(Section):
    """Which attributes may be sent."""

    allow: Texts = Field(
        default=("*",), min_length=1, description="name patterns; an attribute that matches none is skipped"
    )
    deny: Texts = Field(
        default=(FORBIDDEN,),
        description="name patterns of attributes that are never sent, and whose values are never logged or "
        f"dead-lettered in clear; `{FORBIDDEN}` stands for what Attentive forbids: keep it when you add to it, as in "
        f"`{FORBIDDEN},internal_*`",
    )
    nulls: Annotated[Literal["drop", "reject", "empty_string"], ANY_CASE] = Field(
        default="drop",
        description='null values: `drop` skips them, `reject` dead-letters them, `empty_string` sends `""`',
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


class HttpSettings(Section):
    """The server for health, metrics and status."""

    host: Text = Field(default="0.0.0.0", description="listen address for health, metrics and status")  # noqa: S104 - probes and scrapes come from outside the pod; nothing served there changes state
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
    attentive: AttentiveSettings = AttentiveSettings()
    attributes: AttributeSettings = AttributeSettings()
    storm: StormSettings = StormSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    http: HttpSettings = HttpSettings()
    log: LogSettings = LogSettings()
