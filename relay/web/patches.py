"""JSON merge patch, and the compare-and-set around it, for everything that can be changed in part."""

from typing import Any

TRIES_MAX = 3  # of a change that others keep overtaking


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
