"""`attribute-worker explain`: what became of one record."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from worker.commands.job import job
from worker.core.model import Event, User
from worker.core.receipts.codec import Written
from worker.jobs.explain import follow, place
from worker.jobs.trail import Explanation, Traces, explain
from worker.settings.flags import SettingsCommand, settings_options
from worker.settings.load import Loaded
from worker.wiring.explain import books


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  attribute-worker explain profile-changes:0:1500
  attribute-worker explain profile-changes:0:1500 --json --values""",
)
@settings_options
@click.argument("record", metavar="TOPIC:PARTITION:OFFSET")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--values", is_flag=True, help="Show the user's identifiers and the attributes' values, too.")
def command(loaded: Loaded, record: str, *, as_json: bool, values: bool) -> None:
    """Say what became of one record.

    Decodes it by today's settings, then looks for what tells of it: receipts of calls (WORKER_RECEIPTS__TOPIC), dead
    letters, later changes of the same user, the group's committed offset. Changes nothing.

    Exit status: 0 done; 1 the record is deleted, or something cannot be read; 2 bad usage or configuration.
    """
    settings = loaded.settings
    with job(settings, "explain") as begun:
        partition, offset = place(record)
        traces = follow(books(settings, begun.stopped, begun.log), partition, offset)
    document = _document(traces, explain(traces), values=values)
    click.echo(json.dumps(document, ensure_ascii=False, default=str) if as_json else _text(record, document))


def _document(traces: Traces, found: Explanation, *, values: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "state": found.state.value,
        "detail": found.detail,
        "attributes": [
            {"name": fate.name, "state": fate.state.value, "by": fate.by} | ({"value": fate.value} if values else {})
            for fate in found.attributes
        ],
        "calls": [_call(traces, written) for written in traces.receipts or ()],
        "dead_letters": [found.letter.id for found in traces.letters_about(traces.offset)],
    }
    if values and isinstance(traces.content, Event):
        document["user"] = _user(traces.content.user)
    return document


def _call(traces: Traces, written: Written) -> dict[str, Any]:
    receipt = written.receipt
    carried = [
        name
        for one in receipt.positions
        if one.partition == traces.partition
        for name, offset in one.attributes
        if offset == traces.offset
    ]
    return {
        "ended_at": datetime.fromtimestamp(receipt.ended_ms / 1000, UTC).isoformat(timespec="milliseconds"),
        "outcome": written.outcome,
        "status": written.status,
        "failure": written.failure,
        "request_id": receipt.request_id,
        "attempt": receipt.attempt,
        "instance": written.instance,
        "attributes": carried,
    }


def _user(user: User) -> dict[str, Any]:
    given = {"phone": user.phone, "email": user.email, "client_user_id": user.client_user_id}
    found: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return found | ({"custom": dict(user.custom)} if user.custom else {})


def _text(record: str, document: dict[str, Any]) -> str:
    lines = [f"{record}: {document['state'].replace('_', ' ')}", f"  {document['detail']}"]
    if "user" in document:
        lines.append(f"  user: {json.dumps(document['user'], ensure_ascii=False)}")
    for each in document["attributes"]:
        value = f" = {json.dumps(each['value'], ensure_ascii=False, default=str)}" if "value" in each else ""
        joint = " by " if each["state"] in {"delivered", "superseded"} else ": "
        by = f"{joint}{each['by']}" if each["by"] else ""
        lines.append(f"  {each['name']}{value}  {each['state'].replace('_', ' ')}{by}")
    for call in document["calls"]:
        answer = call["status"] or call["failure"]
        request = f", request {call['request_id']}" if call["request_id"] else ""
        names = ", ".join(call["attributes"])
        lines.append(
            f"  call at {call['ended_at']}: {call['outcome']} ({answer}), attempt {call['attempt']}{request}: {names}"
        )
    lines += [f"  dead letter {each}" for each in document["dead_letters"]]
    return "\n".join(lines)
