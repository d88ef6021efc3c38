"""
The relay's own errors, each carrying the evidence a caller needs.

RelayError
├── Refused              what was asked for cannot be done; carries the faults
│   ├── Invalid          the request is malformed (422)
│   ├── NotFound         no such object for this tenant (404)
│   ├── Conflict         the object's state forbids it (409)
│   └── Forbidden        the key's scopes forbid it (403)
├── BadSettings          the environment is wrong; carries every fault with its fix
├── BadDefinition        a provider's definition is wrong; carries every fault
└── Unreachable          Redis or the database did not answer
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where (`pointer`, RFC 6901, "" for the whole), what, and a stable code."""

    pointer: str
    detail: str
    code: str


class RelayError(Exception):
    """The root of everything the relay raises on purpose."""


class Refused(RelayError):
    """What was asked for cannot be done; `code` is stable, `faults` names every reason."""

    def __init__(self, code: str, detail: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.faults = tuple(faults)


class Invalid(Refused):
    """The request is malformed: every fault is named."""


class NotFound(Refused):
    """This tenant has no such object (another tenant's looks just the same)."""


class Conflict(Refused):
    """The object's state forbids what was asked."""


class Forbidden(Refused):
    """The key lacks the scope."""


class BadSettings(RelayError):
    """The environment cannot be used; `faults` has a line for each variable, with its fix."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class BadDefinition(RelayError):
    """A provider's definition cannot be used; `faults` has a line for each reason."""

    def __init__(self, source: str, faults: Sequence[str]) -> None:
        super().__init__("\n".join(f"{source}: {fault}" for fault in faults))
        self.source = source
        self.faults = tuple(faults)


class Unreachable(RelayError):
    """Redis or the database did not answer; `part` says which."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part} does not answer: {reason}")
        self.part = part
        self.reason = reason
