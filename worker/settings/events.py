"""The settings of what a record is: its schema, the fields that mean something, the user, and the attributes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from worker.core.events.mapping import Mapping
from worker.core.rules.policy import DEBEZIUM_UNAVAILABLE, FORBIDDEN
from worker.registry import known
from worker.settings.values import (
    ANY_CASE,
    AS_LIST,
    DISTINCT,
    FieldPath,
    FieldPaths,
    Number,
    OptionalPath,
    OptionalUrls,
    Pairs,
    Properties,
    PropertyFiles,
    PropertyPairs,
    Region,
    Texts,
    is_text,
)

Identifier = Literal["phone", "email", "client_user_id", "custom"]

# Its defaults fit the bundled schema.
_MAPPING = Mapping()


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*")
    @classmethod
    def _has_text(cls, value: object) -> object:
        if not is_text(value):
            raise ValueError("holds a NUL character, or bytes that are not UTF-8; write it again")
        return value


class SchemaSettings(Section):
    """Where Avro schemas come from."""

    registry_url: OptionalUrls = Field(
        default=None, repr=False, description="Confluent-compatible schema registry; several URLs comma-separated"
    )
    registry_properties: Annotated[PropertyPairs, Properties(known.KNOWN)] = Field(
        default={},
        repr=False,
        description="the registry client's own settings (`basic.auth.user.info`, `ssl.ca.location` …), as JSON",
    )
    registry_properties_file: OptionalPath = Field(
        default=None, description="file of further ones, as `WORKER_KAFKA__PROPERTIES_FILE`"
    )
    registry_property_files: PropertyFiles = Field(
        default={},
        description="from their names to files that hold one value each, as `WORKER_KAFKA__PROPERTY_FILES`: "
        '`{"basic.auth.user.info": "/run/secrets/registry/user-info"}`',
    )
    framing: Annotated[Literal["confluent", "none"], ANY_CASE] = Field(
        default="confluent",
        description="`confluent`: magic byte 0 and a 4-byte schema id; `none`: bare Avro, one writer schema",
    )
    writer_schema: OptionalPath = Field(
        default=None, description="path of the schema that records were written with, if framing is `none`"
    )
    key_framing: Annotated[Literal["confluent", "none", "text", "integer"], ANY_CASE] = Field(
        default="confluent",
        description="how Kafka keys are written, if a path of the mapping begins with `key`: as for values, or `text` "
        "(UTF-8), or `integer` (2, 4 or 8 bytes, as Kafka's own serializers write a whole number)",
    )
    key_schema: OptionalPath = Field(
        default=None, description="path of the schema that keys were written with, if their framing is `none`"
    )
    empty_values: Annotated[Literal["letter", "tombstone"], ANY_CASE] = Field(
        default="letter",
        description="what a value of zero bytes is: a dead `letter`, or a `tombstone`, which is passed over",
    )
    reader_schema: OptionalPath = Field(
        default=None,
        description="path of a schema to read all records with; none: each is read with the schema it was written with",
    )
    directory: OptionalPath = Field(default=None, description="instead of a registry: a directory of `<id>.avsc` files")
    unknown_id_seconds: Number = Field(
        default=30.0,
        ge=0,
        le=3_600,
        description="for so long a schema id that does not exist is asked for again, before its records become dead "
        "letters: followers of a registry lag, and files are copied late; longer loses less, but its partition waits",
    )
    read_rules: Annotated[Literal["wait", "leave_out"], ANY_CASE] = Field(
        default="wait",
        description="what to do with a registry's schema that has rules for its readers (field encryption …), which "
        "this worker does not run: `wait` reads no record of it and says so; `leave_out` reads them without the fields "
        "that have the rules' tags",
    )


class MappingSettings(Section):
    """Where the fields are in the event. `worker.core.events.mapping.Mapping` has the details.

    The defaults fit `schemas/profile_changed.avsc`. An empty path means that there is no such field.
    """

    types: Texts = Field(
        default=(),
        description="record types to take, by name (`CustomerChanged`, `crm.v1.*`), comma-separated or a JSON list; "
        "records of other types are skipped; empty means all",
    )
    phone: FieldPath = Field(
        default=_MAPPING.phone,
        description="path of the phone number, with dots; here and below: `|` separates alternatives, `key.` leads "
        "into the Kafka key, empty means none",
    )
    email: FieldPath = Field(default=_MAPPING.email, description="path of the email address")
    client_user_id: FieldPath = Field(default=_MAPPING.client_user_id, description="path of the client user id")
    custom_identifiers: FieldPath = Field(
        default=_MAPPING.custom_identifiers,
        description="path of an array of {name, value} records, or of a map; or `name=path` pairs, comma-separated",
    )
    attributes: FieldPaths = Field(
        default=_MAPPING.attributes,
        min_length=1,
        description="paths, comma-separated or a JSON list: of a map, of a record whose scalar fields to take "
        "(`after.*`; `*`: the event itself), or of one field (`address.city`, `town=address.city`)",
    )
    flatten: FieldPath = Field(
        default="",
        max_length=20,
        description="put between the names of a nested record and of its fields, which then are attributes, too: `_` "
        "for `address_city`; empty: nested records are left out",
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
    ignore_when: Texts = Field(
        default=(),
        description="`path=value` pairs, comma-separated or a JSON list; a record in which a path has its value is "
        "skipped, for example `__deleted=true`; values are compared as text (`true`, `null`, `7`)",
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
    phone_region: Region = Field(
        default=None,
        description="country (`US`): phones that are written as people do there, or with a country code, are sent in "
        "E.164 form; none: a phone must have that form",
    )
    email_case: Annotated[Literal["keep", "lower"], ANY_CASE] = Field(
        default="keep",
        description="`keep`: addresses are sent as they are, and compared with their domain in lower case; `lower`: "
        "they are sent and compared in lower case",
    )
    invalid: Annotated[Literal["letter", "next"], ANY_CASE] = Field(
        default="letter",
        description="what an invalid identifier makes of an event that it would name: a `letter`, or the `next` valid "
        "one in the order names the user; other invalid ones are left out and counted",
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
    unknown_values: Texts = Field(
        default=(DEBEZIUM_UNAVAILABLE,),
        description="texts that stand for a value that the producer does not know; such attributes are skipped, and "
        "such identifiers are absent",
    )
