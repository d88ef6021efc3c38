"""Runs the Lambda receiver as AWS would, on commands by line, so that one suite drives it and the JavaScript ones."""

import base64
import json
import sys
import traceback
from collections.abc import Callable
from typing import Any

import boto3
import lambda_function

QUEUE = boto3.client("sqs")


def verify(command: dict[str, Any]) -> dict[str, Any]:
    """One check at a moment of the caller's choice."""
    headers, body = command["headers"], base64.b64decode(command["body"])
    try:
        return {"id": lambda_function.verify(command["secrets"], headers, body, command["now"])}
    except lambda_function.Refused as refused:
        return {"status": refused.status_code}


def call(command: dict[str, Any]) -> dict[str, Any]:
    """One call, in the form the gateway gives it; what raises is a 502 there."""
    body, headers = base64.b64decode(command["body"]), command["headers"]
    is_base64 = command.get("is_base64", False)
    event = {
        "headers": {name.title(): value for name, value in headers.items()} if command.get("has_capitals") else headers,
        "body": command["body"] if is_base64 else body.decode(),
        "isBase64Encoded": is_base64,
    }
    try:
        return {"status": lambda_function.receive(event, None)["statusCode"]}
    except Exception:  # noqa: BLE001  the platform catches whatever it is
        traceback.print_exc(file=sys.stdout)
        return {"status": 502}


def settle(command: dict[str, Any]) -> dict[str, Any]:
    """Hands what is in the queue to the second function."""
    messages, QUEUE.messages = QUEUE.messages, []
    for message in messages:
        lambda_function.work({"Records": [{"body": message}]}, None)
    return {"settled": len(messages)}


def queue(command: dict[str, Any]) -> dict[str, Any]:
    """Takes the queue out of order, or puts it back."""
    QUEUE.is_out_of_order = command["is_out_of_order"]
    return {}


ACTIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "verify": verify,
    "call": call,
    "settle": settle,
    "queue": queue,
}

for line in sys.stdin:
    asked = json.loads(line)
    print(f">{json.dumps(ACTIONS[asked['do']](asked))}", flush=True)
