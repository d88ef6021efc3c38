"""JSON merge patch, and the compare-and-set around it, for everything that can be changed in part."""

import typing
from collections.abc import AsyncIterator, Mapping
from typing import Any

from pydantic import BaseModel

from relay.clock import Clock
from relay.domain.errors import Fault
from relay.web.checks import pointer

TRIES_MAX = 8  # of a change that others keep overtaking
PAUSE_SECONDS = 0.05  # at most, before each further one


async def tries(clock: Clock) -> AsyncIterator[int]:
    """As many tries as a change has, apart by chance, so that those who met do not meet again."""
    for number in range(TRIES_MAX):
        if number:
            await clock.sleep(PAUSE_SECONDS * clock.dice())
        yield number


def merged(target: Any, patch: Any) -> Any:
    """`target` after `patch` (RFC 7396): null removes, objects merge, all else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def null_faults(model: type[BaseModel], patch: Mapping[str, Any], where: str = "") -> list[Fault]:
    """The fields that a patch would remove and that there are not: merged away, they would seem to have been."""
    faults = []
    for name, value in patch.items():
        place, field = pointer((name,), where), model.model_fields.get(name)
        if field is None and value is None:
            faults.append(Fault(place, "there is no such field", "unknown_field"))
        elif field is not None and isinstance(value, dict):
            inner = next((one for one in typing.get_args(field.annotation) if _is_model(one)), None)
            faults += null_faults(inner, value, place) if inner else []
    return faults


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
