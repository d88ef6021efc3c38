"""Receives the relay's webhooks on AWS Lambda with the standard library alone, and leaves the work to a queue."""

import base64
import hashlib
import hmac
import json
import os
import re
import time
from functools import cache
from typing import Any, Literal, Protocol

TOLERANCE_SECONDS = 300
# A claim whose call died half-way gives way after this; kept ids outlive the relay's longest schedule by days.
CLAIMED_SECONDS = 20
KEPT_SECONDS = 7 * 86_400

Claim = Literal["first", "busy", "duplicate"]


class Refused(Exception):
    """The call is not the relay's, or not whole; `status_code` is what it is answered with."""

    def __init__(self, status_code: int, reason: str) -> None:
        super().__init__(reason)
        self.status_code = status_code


class Seen(Protocol):
    """Which events were taken. Times are seconds since 1970."""

    def claim(self, message_id: str, now: float) -> Claim:
        """Takes the id, unless it is taken."""

    def keep(self, message_id: str, now: float) -> None:
        """Its work is in safe hands: from now on it is a duplicate."""


def receive(event: dict[str, Any], context: object) -> dict[str, Any]:
    """The handler behind a Function URL or an API Gateway (payload formats 1.0 and 2.0)."""
    now = time.time()
    body = _body(event)
    try:
        message_id = verify(os.environ["WEBHOOK_SECRETS"], _headers(event), body, now)
        message = _message(body)
    except Refused as refused:
        return _answer(refused.status_code, error=str(refused))
    match _seen().claim(message_id, now):
        case "duplicate":
            return _answer(200, duplicate=message_id)
        case "busy":
            # Another call has it and may yet fail: a success here could be the last that is heard of the event.
            return _answer(409, error="the same event is being taken")
    # Lambda freezes when it has answered, so the work goes to a queue first. If that raises, the relay gets a 502,
    # and its next attempt finds the claim run out.
    _client("sqs").send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=message)
    _seen().keep(message_id, now)
    return _answer(202, accepted=message_id)


def work(event: dict[str, Any], context: object) -> None:
    """The handler behind the queue, batch size 1: a message that raises comes back, and in the end is set aside."""
    for record in event["Records"]:
        message = json.loads(record["body"])
        # What your application does goes here. The queue may repeat a message: message["id"] tells.
        # What message["data"] holds depends on the type: of job.completed, job.failed and job.expired it is the job.
        print(message["type"], message["id"])


def verify(secrets: str, headers: dict[str, str], body: bytes, now: float) -> str:
    """
    The webhook-id of a call whose signature (Standard Webhooks 1.0) is good, else Refused.

    `secrets`: one or more whsec_…, by spaces or commas, while a secret rotates; `headers` by lower-case name.
    """
    message_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not (message_id and timestamp and signatures):
        raise Refused(400, "a webhook- header is missing")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise Refused(400, "webhook-timestamp is not a number of seconds")
    if abs(now - int(timestamp)) > TOLERANCE_SECONDS:
        raise Refused(401, "webhook-timestamp is too far off")
    content = f"{message_id}.{timestamp}.".encode() + body
    expected = [_sign(secret, content) for secret in re.split(r"[\s,]+", secrets) if secret]
    # Other versions (v1a) and malformed entries are passed over: one good signature is enough.
    given = [entry.removeprefix("v1,").encode() for entry in signatures.split(" ") if entry.startswith("v1,")]
    if not expected:
        raise RuntimeError("WEBHOOK_SECRETS is empty")
    if not any(hmac.compare_digest(one, other) for one in given for other in expected):
        raise Refused(401, "no signature matches")
    return message_id


class InMemory:
    """Enough for one process: every instance of the function has its own, and each ends with it."""

    def __init__(self) -> None:
        self._kept: set[str] = set()

    def claim(self, message_id: str, now: float) -> Claim:
        """An instance answers one call at a time, so none is ever busy."""
        return "duplicate" if message_id in self._kept else "first"

    def keep(self, message_id: str, now: float) -> None:
        self._kept.add(message_id)


class InDynamoDB:
    """A table with the string key `id` and time-to-live on `expires_at`."""

    def __init__(self, table: str) -> None:
        self._table = table

    def claim(self, message_id: str, now: float) -> Claim:
        client = _client("dynamodb")
        try:
            client.put_item(
                TableName=self._table,
                Item=_item(message_id, now + CLAIMED_SECONDS, is_kept=False),
                # DynamoDB deletes late, up to days after `expires_at`.
                ConditionExpression="attribute_not_exists(id) OR expires_at < :now",
                ExpressionAttributeValues={":now": {"N": str(int(now))}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except client.exceptions.ConditionalCheckFailedException as error:
            return "duplicate" if error.response["Item"]["is_kept"]["BOOL"] else "busy"
        return "first"

    def keep(self, message_id: str, now: float) -> None:
        _client("dynamodb").put_item(TableName=self._table, Item=_item(message_id, now + KEPT_SECONDS, is_kept=True))


@cache
def _seen() -> Seen:
    table = os.environ.get("TABLE_NAME")
    return InDynamoDB(table) if table else InMemory()


@cache
def _client(service: str) -> Any:
    import boto3  # noqa: PLC0415  every Python runtime of Lambda brings it; `verify` alone needs nothing

    return boto3.client(service)


def _item(message_id: str, expires_at: float, *, is_kept: bool) -> dict[str, Any]:
    return {"id": {"S": message_id}, "expires_at": {"N": str(int(expires_at))}, "is_kept": {"BOOL": is_kept}}


def _headers(event: dict[str, Any]) -> dict[str, str]:
    # Payload format 1.0 keeps the sender's capitals, 2.0 does not.
    return {name.lower(): value for name, value in (event.get("headers") or {}).items()}


def _body(event: dict[str, Any]) -> bytes:
    body = event.get("body") or ""
    return base64.b64decode(body) if event.get("isBase64Encoded") else body.encode()


def _message(body: bytes) -> str:
    try:
        # Written anew in ASCII: a queue refuses some characters that JSON allows.
        return json.dumps(json.loads(body))
    except ValueError:
        raise Refused(400, "the body is not JSON") from None


def _sign(secret: str, content: bytes) -> bytes:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return base64.b64encode(hmac.digest(key, content, hashlib.sha256))


def _answer(status_code: int, **fields: str) -> dict[str, Any]:
    return {
        "statusCode": status_code,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(fields),
    }
