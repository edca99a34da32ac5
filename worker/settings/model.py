"""Every setting: its name, kind, default, bounds and meaning.

The environment names, the flags, `attribute-worker config` and the table in README.md are made from these
models. A field's description is what users read; it states the trade-off where there is one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from worker.core.rules.policy import FORBIDDEN
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


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KafkaSettings(Section):
    """The cluster, the topics and the consumer group."""

    bootstrap_servers: Text = Field(
        description="brokers to start from, as librdkafka takes them: `host:port,host:port`"
    )
    topics: Texts = Field(
        default=("profile-changes",),
        min_length=1,
        description="topics to read, comma-separated or a JSON list; a name that starts with `^` is a pattern "
        "(one with a comma in it needs the JSON list)",
    )
    group_id: Text = Field(default="attribute-worker", max_length=249, description="consumer group of all replicas")
    dead_letter_topic: str = Field(
        default="profile-changes.dead-letter",
        pattern=r"^[a-zA-Z0-9._-]{1,249}$",
        description="where changes go that can't be delivered; created at start where allowed",
    )
    properties: PropertyPairs = Field(
        default={},
        repr=False,
        description="further librdkafka properties (TLS, SASL, OAuth, `group.protocol` …), as a JSON object; those "
        "the worker's guarantees rest on are refused",
    )
    commit_interval_seconds: Number = Field(
        default=1.0,
        ge=0.1,
        le=60,
        description="pause between offset commits; longer spares the brokers, and sends more again after a crash",
    )
    lease_seconds: Annotated[Number | None, EMPTY_IS_NONE] = Field(
        default=None,
        gt=0,
        le=3_600,
        description="a worker that was frozen, or cut off from the brokers, for longer sends nothing more before it "
        "has rejoined the group; must be below the group's session time-out. Default: `session.timeout.ms` less "
        "`heartbeat.interval.ms`, 42 s. With `group.protocol=consumer` the brokers set the session time-out: "
        "follow them",
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
        default=None, description="path of the schema that records were written with, where framing is `none`"
    )
    reader_schema: OptionalPath = Field(
        default=None,
        description="path of the schema that records are read as; none reads each as it was written",
    )
    directory: OptionalPath = Field(default=None, description="instead of a registry: a directory of `<id>.avsc` files")


class MappingSettings(Section):
    """Where the fields lie in the event; `worker.core.events.mapping.Mapping` says it in full.

    The defaults fit `schemas/profile_changed.avsc`. An empty path: there is no such field.
    """

    phone: FieldPath = Field(
        default="user.phone",
        description="path of the phone number, by dots; here and below: alternatives separated by `|`, empty for none",
    )
    email: FieldPath = Field(default="user.email", description="path of the email address")
    client_user_id: FieldPath = Field(default="user.client_user_id", description="path of the client user id")
    custom_identifiers: FieldPath = Field(
        default="user.custom_identifiers",
        description="path of an array of {name, value} records or of a map, or `name=path` pairs, comma-separated",
    )
    attributes: FieldPath = Field(
        default="attributes",
        min_length=1,
        description="path of a map, or of a record whose scalar fields are taken (`after.*`; `*` is the event itself)",
    )
    occurred_at: FieldPath = Field(default="occurred_at", description="path of the time of the change")
    event_id: FieldPath = Field(default="event_id", description="path of the event's id")
    exclude: Texts = Field(
        default=(),
        description="name patterns of attributes to leave out, as the event names them (before prefix, rename)",
    )
    prefix: str = Field(
        default="", max_length=200, description="put before each attribute's name, except those that `RENAME` names"
    )
    rename: Pairs = Field(default={}, description="new attribute names by the names in the event, as a JSON object")
    ignore_when_null: FieldPath = Field(
        default="", description="path; where it is null the record is passed over, such as `after` for a CDC delete"
    )


class IdentitySettings(Section):
    """What names a user.

    Two events that name one person by different identifiers are two users to the worker.
    """

    order: Annotated[tuple[Identifier, ...], AS_LIST, DISTINCT] = Field(
        default=("phone", "email", "client_user_id", "custom"),
        min_length=1,
        description="the first one present names the user, for coalescing and order; two events that name one person "
        "by different identifiers are two users",
    )
    send: Annotated[Literal["first", "all"], ANY_CASE] = Field(
        default="first",
        description="`first`: send only the identifier that names the user; `all`: every identifier the event has",
    )


class WindowSettings(Section):
    """How long and how much is held back to be coalesced."""

    seconds: Number = Field(
        default=5.0,
        ge=0,
        le=86_400,
        description="from a user's first waiting change to the call; 0 sends at once, longer saves more calls",
    )
    max_bytes: Count = Field(
        default=268_435_456,
        ge=65_536,
        le=1_099_511_627_776,
        description="budget of everything held in memory; past it partitions are paused, below 80 % of it resumed",
    )


class AttentiveSettings(Section):
    """The destination and how it is treated."""

    base_url: Url = Field(
        default="https://api.attentivemobile.com/v1",
        description="the API, without a slash at the end; plain `http` only to a loopback address",
    )
    allow_plain_http: bool = Field(
        default=False, description="allow plain `http` to any host; the token then travels readable"
    )
    token: Annotated[SecretStr | None, EMPTY_IS_NONE, Secret()] = Field(
        default=None,
        repr=False,
        description="API token with the scope `attributes:write`; or `TOKEN_FILE`, one is required",
    )
    token_file: OptionalPath = Field(
        default=None, description="file that holds the token; read again when it changes, and before leaving a halt"
    )
    requests_per_second: Number = Field(
        default=150.0,
        gt=0,
        le=10_000,
        description="the limit of the token, shared by all replicas; each takes its share by the partitions it holds",
    )
    concurrency: Count = Field(default=32, ge=1, le=512, description="requests in flight, per replica")
    timeout_seconds: Number = Field(
        default=10.0, ge=0.1, le=120, description="a whole request, not one read; below `session.timeout.ms`"
    )
    connection_age_max_seconds: Number = Field(
        default=300.0,
        gt=0,
        le=86_400,
        description="a connection that is older takes no further call; the next one looks the host's name up anew",
    )
    retry_base_seconds: Number = Field(
        default=0.5, gt=0, le=60, description="longest first pause before a retry; doubles with each, with full jitter"
    )
    retry_max_seconds: Number = Field(default=30.0, gt=0, le=3_600, description="longest pause before a retry")
    retry_after_max_seconds: Number = Field(
        default=300.0,
        ge=1,
        le=86_400,
        description="longest `Retry-After` that is obeyed as it stands; a longer one is cut",
    )
    probe_max_seconds: Number = Field(
        default=10.0, gt=0, le=600, description="longest pause between probes while halted, or while the API is out"
    )
    server_error_seconds: Number = Field(
        default=300.0,
        ge=1,
        le=86_400,
        description="how long one user's calls may fail while others succeed; then its changes are dead-lettered",
    )
    calls_per_entry_max: Count = Field(
        default=40, ge=2, le=1_000, description="calls spent on finding the refused attributes of one user's changes"
    )


class AttributeSettings(Section):
    """Which attributes may be sent."""

    allow: Texts = Field(
        default=("*",), min_length=1, description="name patterns; a name that none matches is passed over"
    )
    deny: Texts = Field(
        default=(FORBIDDEN,),
        description="name patterns that are never sent, their values never logged nor dead-lettered in clear; "
        f"`{FORBIDDEN}` stands for what Attentive forbids, keep it when adding: `{FORBIDDEN},internal_*`",
    )
    nulls: Annotated[Literal["drop", "reject", "empty_string"], ANY_CASE] = Field(
        default="drop",
        description='a null value: `drop` passes it over, `reject` dead-letters it, `empty_string` sends `""`',
    )


class StormSettings(Section):
    """When a flood of dead letters is a broken producer or destination rather than bad data."""

    letters_max: Count = Field(
        default=40,
        ge=1,
        le=1_000_000,
        description="dead letters in a row without a success, after which no more are written and the worker halts "
        "`rejection_storm`; what was spent is kept over restarts, so raising this is the way out where the letters are "
        "right",
    )
    share_max: Number = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="share of dead letters among all outcomes that is borne for long; more ends in that halt too",
    )


class ShutdownSettings(Section):
    """How the worker stops."""

    drain_seconds: Number = Field(
        default=20.0,
        gt=0,
        le=3_600,
        description="one deadline for flush, drain and commit at a stop or a revoke; below `max.poll.interval.ms` "
        "and the pod's grace period",
    )


class HttpSettings(Section):
    """Health, metrics and status."""

    host: Text = Field(default="0.0.0.0", description="address that health, metrics and status listen on")  # noqa: S104 - probes and scrapes come from outside the pod; nothing served there changes state
    port: Count = Field(default=8080, ge=0, le=65_535, description="port of the same; 0 picks a free one and logs it")


class LogSettings(Section):
    """What is logged, and how."""

    level: Annotated[Literal["debug", "info", "warning", "error"], ANY_CASE] = Field(
        default="info", description="`debug`, `info`, `warning` or `error`"
    )
    format: Annotated[Literal["auto", "json", "console"], ANY_CASE] = Field(
        default="auto", description="`json`, `console`, or `auto`: `console` on a terminal, else `json`"
    )


class Settings(Section):
    """The whole configuration, frozen. `worker.settings.load.load` makes it from its sources and checks its rules."""

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
