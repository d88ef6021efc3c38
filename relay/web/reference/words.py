"""The closed lists of words in answers, each under the name that generated clients know it by."""

from typing import Annotated

from pydantic import WithJsonSchema
from typing_extensions import TypeAliasType

from relay.domain import delivery, key, observation, subscription
from relay.web.schemas import EventName, Metadata

__all__ = [
    "AnswerClass",
    "Blame",
    "ErrorCode",
    "EventName",
    "FileKind",
    "Metadata",
    "PayloadForm",
    "Scope",
    "SignatureForm",
    "Trigger",
]

# An alias with a name of its own is a schema with that name; a bare Literal would be written out wherever it is used.
AnswerClass = TypeAliasType("AnswerClass", delivery.AnswerClass)
Blame = TypeAliasType("Blame", delivery.Blame)
Trigger = TypeAliasType("Trigger", delivery.Trigger)
ErrorCode = TypeAliasType("ErrorCode", observation.ErrorCode)
FileKind = TypeAliasType("FileKind", observation.FileKind)
PayloadForm = TypeAliasType("PayloadForm", subscription.PayloadForm)
SignatureForm = TypeAliasType("SignatureForm", subscription.SignatureForm)
Scope = TypeAliasType("Scope", Annotated[str, WithJsonSchema({"type": "string", "enum": list(key.SCOPES)})])
