"""Receiver with FastAPI and the sqlite3 module, after FastAPI's guide.

It has models for the webhook, a dependency for the verification, and endpoints in a plain `def`, which
FastAPI runs in its thread pool because they block. Each thread keeps a connection. SQLite allows one
writer at a time, so the threads take a lock, which is fairer and faster than SQLite's busy timeout.
uvicorn runs the app in one process, with uvloop and httptools. With ENDPOINTS=async the endpoints are
`async def` and run on the event loop. The guide advises against that for blocking code, but it costs less
as long as the disk is fast.
"""

import hashlib
import hmac
import os
import sqlite3
import threading
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

SECRET = os.environ["SECRET"].encode()
DATABASE = os.environ["DATABASE"]
ASYNC = os.environ.get("ENDPOINTS", "def") == "async"
SCHEMA = (Path(__file__).parent.parent / "schema.sql").read_text()

ADD_NOTIFICATION = """
    INSERT INTO notification (message_id, identity, status, status_changed_at, accepted_at, channel,
        destination, reference_service, reference_action, reference_key, provider_name, provider_id,
        provider_status, provider_code, provider_message, segments)
    VALUES (:id, :identity, :status, :status_changed_at, :accepted_at, :channel, :destination,
        :reference_service, :reference_action, :reference_key, :provider_name, :provider_id,
        :provider_status, :provider_code, :provider_message, :segments)
    ON CONFLICT (message_id, identity) DO NOTHING"""

PUT_MESSAGE = """
    INSERT INTO message (id, status, status_changed_at, accepted_at, channel, destination,
        reference_service, reference_action, reference_key, provider_name, provider_id,
        provider_status, provider_code, provider_message, segments)
    VALUES (:id, :status, :status_changed_at, :accepted_at, :channel, :destination,
        :reference_service, :reference_action, :reference_key, :provider_name, :provider_id,
        :provider_status, :provider_code, :provider_message, :segments)
    ON CONFLICT (id) DO UPDATE SET status = excluded.status,
        status_changed_at = excluded.status_changed_at, accepted_at = excluded.accepted_at,
        channel = excluded.channel, destination = excluded.destination,
        reference_service = excluded.reference_service,
        reference_action = excluded.reference_action, reference_key = excluded.reference_key,
        provider_name = excluded.provider_name, provider_id = excluded.provider_id,
        provider_status = excluded.provider_status, provider_code = excluded.provider_code,
        provider_message = excluded.provider_message, segments = excluded.segments
    WHERE excluded.status > message.status"""


class Status(IntEnum):
    """Status of a message, in order of precedence."""

    PROVIDER_ACCEPTANCE = 0
    SENT = 1
    REJECTED = 2
    UNDELIVERED = 3
    DELIVERED = 4
    READ = 5


class Channel(StrEnum):
    SMS = "SMS"
    RCS = "RCS"


class Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class Reference(Model):
    service: str | None = None
    action: str | None = None
    key: str | None = None


class Provider(Model):
    name: str = ""
    id: str = ""
    status: str = ""
    code: str = ""
    message: str | None = None


class Sms(Model):
    segments: int


class Message(Model):
    id: UUID
    provider_acceptance_at: AwareDatetime | None = None
    status_changed_at: AwareDatetime
    reference: Reference = Reference()
    channel: Channel
    status: Annotated[Status, BeforeValidator(lambda word: Status.__members__.get(word, word))]
    provider: Provider = Provider()
    sms: Sms | None = None
    destination: str | None = None


class Webhook(Model):
    type: Literal["STATUS_UPDATE"]
    message: Message


local = threading.local()
write_lock = threading.Lock()


def connect() -> sqlite3.Connection:
    """Connection of this thread."""
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(DATABASE, isolation_level=None)
        local.connection.row_factory = sqlite3.Row
        local.connection.execute("PRAGMA journal_mode = WAL")
        local.connection.execute("PRAGMA synchronous = FULL")
    return local.connection


async def verified_body(request: Request, x_signature: Annotated[str, Header()] = "") -> bytes:
    """Body of the request. Raises 401 if its signature is missing or wrong."""
    body = await request.body()
    expected = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), x_signature.lower().encode()):
        raise HTTPException(401, "invalid signature")
    return body


def receive(body: Annotated[bytes, Depends(verified_body)]) -> dict:
    try:
        message = Webhook.model_validate_json(body).message
    except ValidationError as error:
        raise HTTPException(400, "malformed webhook") from error
    identity = hashlib.sha256(body).digest()
    with write_lock:
        outcome, status = store(connect(), message, identity)
    result = {"messageId": str(message.id), "outcome": outcome, "status": Status(status).name}
    return {"results": [result]}


def show(message_id: UUID) -> dict:
    row = connect().execute("SELECT * FROM message WHERE id = ?", [str(message_id)]).fetchone()
    if row is None:
        raise HTTPException(404, "unknown message")
    message = {
        "id": row["id"],
        "providerAcceptanceAt": row["accepted_at"],
        "statusChangedAt": row["status_changed_at"],
        "reference": columns(row, "reference", ("service", "action", "key")),
        "channel": row["channel"],
        "status": Status(row["status"]).name,
        "provider": columns(row, "provider", ("name", "id", "status", "code", "message")),
    }
    if row["segments"] is not None:
        message["sms"] = {"segments": row["segments"]}
    return {"message": message}


async def receive_on_the_loop(body: Annotated[bytes, Depends(verified_body)]) -> dict:
    return receive(body)


async def show_on_the_loop(message_id: UUID) -> dict:
    return show(message_id)


def columns(row: sqlite3.Row, prefix: str, names: tuple[str, ...]) -> dict:
    """Columns with this prefix, without those that are null."""
    values = ((name, row[f"{prefix}_{name}"]) for name in names)
    return {name: value for name, value in values if value is not None}


def store(connection: sqlite3.Connection, message: Message, identity: bytes) -> tuple[str, int]:
    """Store the message. Return the outcome and the current status, after the changes are synced to disk."""
    values = {
        "id": str(message.id),
        "identity": identity,
        "status": int(message.status),
        "status_changed_at": text(message.status_changed_at),
        "accepted_at": message.provider_acceptance_at and text(message.provider_acceptance_at),
        "channel": message.channel.value,
        "destination": message.destination,
        "reference_service": message.reference.service,
        "reference_action": message.reference.action,
        "reference_key": message.reference.key,
        "provider_name": message.provider.name,
        "provider_id": message.provider.id,
        "provider_status": message.provider.status,
        "provider_code": message.provider.code,
        "provider_message": message.provider.message,
        "segments": message.sms and message.sms.segments,
    }
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        if connection.execute(ADD_NOTIFICATION, values).rowcount == 0:
            outcome = "duplicate"
        elif connection.execute(PUT_MESSAGE, values).rowcount == 0:
            outcome = "superseded"
        else:
            return "applied", message.status
        query = "SELECT status FROM message WHERE id = ?"
        return outcome, connection.execute(query, [values["id"]]).fetchone()[0]


def text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


connect().executescript(SCHEMA)

app = FastAPI()
app.post("/webhooks/bench")(receive_on_the_loop if ASYNC else receive)
app.get("/api/messagestatus/{message_id}")(show_on_the_loop if ASYNC else show)

if __name__ == "__main__":
    host, port = os.environ["LISTEN"].rsplit(":", 1)
    uvicorn.run(app, host=host, port=int(port), log_level="warning", access_log=False)
