"""Stands in for boto3, so that the Lambda receiver meets a table and a queue that answer as AWS's do."""

import os
from typing import Any


class ConditionalCheckFailedError(Exception):
    """Carries the item that was there, as the real one does when asked for ALL_OLD."""

    def __init__(self, item: dict[str, Any]) -> None:
        super().__init__("the conditional request failed")
        self.response = {"Item": item}


class DynamoDB:
    """One table with the key `id`; knows the one condition that the receiver uses."""

    class exceptions:  # noqa: N801  boto3 spells it so
        ConditionalCheckFailedException = ConditionalCheckFailedError

    def __init__(self) -> None:
        self._items: dict[str, dict[str, Any]] = {}

    def put_item(self, *, TableName: str, Item: dict[str, Any], **condition: Any) -> None:  # noqa: N803  boto3's names
        assert TableName == os.environ["TABLE_NAME"]
        there = self._items.get(Item["id"]["S"])
        if condition and there is not None:
            assert condition["ConditionExpression"] == "attribute_not_exists(id) OR expires_at < :now"
            assert condition["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD"
            now = int(condition["ExpressionAttributeValues"][":now"]["N"])
            if int(there["expires_at"]["N"]) >= now:
                raise ConditionalCheckFailedError(there)
        self._items[Item["id"]["S"]] = Item


class SQS:
    """One queue, which can be out of order."""

    def __init__(self) -> None:
        self.is_out_of_order = False
        self.messages: list[str] = []

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803  boto3's names
        assert QueueUrl == os.environ["QUEUE_URL"]
        if self.is_out_of_order:
            raise ConnectionError("the queue is out of order")
        self.messages.append(MessageBody)


CLIENTS = {"dynamodb": DynamoDB(), "sqs": SQS()}


def client(service: str) -> Any:
    """The stand-in of that service; one for the process, so that what it was given can be looked at."""
    return CLIENTS[service]
