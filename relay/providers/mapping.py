"""From a provider's fields to the relay's: files, numbers, words and reasons."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from relay.domain.links import is_link, signed_until
from relay.domain.observation import File, JobError
from relay.providers.definition import Definition, FileMapping, Meaning
from relay.providers.expression import Expression

WORD_CHARACTERS_MAX = 100
MESSAGE_CHARACTERS_MAX = 1000
CONTENT_TYPE_CHARACTERS_MAX = 200
WARNED_CHARACTERS_MAX = 200
FILES_MAX = 1000
SPACES = " \t\r\n"
INTEGER_BITS_MAX = 256  # ids are counted further than sizes; beyond this, writing one down takes its time
SIZE_BYTES_MAX = 2**53  # what every JSON reader can hold

Document = Mapping[str, Any]  # as Answer.document() makes it


def word_of(value: Any, characters_max: int = WORD_CHARACTERS_MAX) -> str | None:
    """A state word, code or id as text: numbers and booleans as JSON writes them, None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() <= INTEGER_BITS_MAX:
        return str(value)
    if isinstance(value, str):
        return value[:characters_max] or None
    return None


def message_of(value: Any) -> str | None:
    """A reason as text; an object is written as JSON. One line, bounded."""
    if value is None or value is False or value in ("", {}, []):
        return None
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):
        return None
    return " ".join(text.split())[:MESSAGE_CHARACTERS_MAX] or None


def number_of(value: Any) -> float | None:
    """A size or duration as a number, also when written as text; None for what is none or is below zero."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number < SIZE_BYTES_MAX else None


def files_of(
    mappings: Iterable[FileMapping], document: Document, lifetime_seconds: int | None, now: datetime
) -> tuple[tuple[File, ...], tuple[str, ...]]:
    """The files that the mappings find, and a warning where one has a URL that cannot be followed and is left out."""
    files: list[File] = []
    unusable: list[str] = []
    for mapping in mappings:
        found = mapping.each.search(document) if mapping.each else [document]
        for item in found if isinstance(found, list) else ():
            told = mapping.url.search(item)
            url = link_of(told)
            if url is not None and len(files) < FILES_MAX:
                files.append(_file(mapping, item, url, lifetime_seconds, now))
            elif url is None and told and isinstance(told, str):
                unusable.append(told)
    return tuple(files), _warnings(unusable)


def link_of(told: Any) -> str | None:
    """The URL as other clients would follow it, with the spaces in it quoted; None for what cannot be followed."""
    url = told.strip(SPACES).replace(" ", "%20") if isinstance(told, str) else None
    return url if url is not None and is_link(url) and "%20" not in urlsplit(url).netloc else None


def _warnings(unusable: Sequence[str]) -> tuple[str, ...]:
    if not unusable:
        return ()
    count = f"{len(unusable)} links" if len(unusable) > 1 else "a link"
    shown = (message_of(unusable[0]) or "")[:WARNED_CHARACTERS_MAX]
    return (f"The provider gave {count} that cannot be followed, left out of the result: {shown}",)


def _file(mapping: FileMapping, item: Any, url: str, lifetime_seconds: int | None, now: datetime) -> File:
    size_bytes = number_of(_found(mapping.size_bytes, item))
    content_type = word_of(_found(mapping.content_type, item), CONTENT_TYPE_CHARACTERS_MAX)
    return File(
        kind=mapping.kind,
        url=url,
        expires_at=_expires_at(url, lifetime_seconds, now),
        content_type=content_type,
        size_bytes=None if size_bytes is None else int(size_bytes),
        duration_seconds=number_of(_found(mapping.duration_seconds, item)),
    )


def _found(expression: Expression | None, item: Any) -> Any:
    return expression.search(item) if expression else None


def _expires_at(url: str, lifetime_seconds: int | None, now: datetime) -> datetime | None:
    """The provider's promise counted from now, or what the signature says when that is sooner."""
    ends = [signed_until(url), None if lifetime_seconds is None else now + timedelta(seconds=lifetime_seconds)]
    return min((end for end in ends if end is not None), default=None)


def provider_code_of(definition: Definition, document: Document) -> str | None:
    """The provider's own code for what went wrong; None when there is none, or one that means "no error"."""
    mapping = definition.error
    code = word_of(mapping.provider_code.search(document)) if mapping.provider_code else None
    return None if code is None or code.casefold() in {item.casefold() for item in mapping.ignore} else code


def reason_of(definition: Definition, document: Document) -> str | None:
    """The provider's own sentence for what went wrong."""
    return message_of(definition.error.message.search(document)) if definition.error.message else None


def failure_of(
    definition: Definition, document: Document, word: str | None, code: str | None, told: Meaning | None
) -> JobError:
    """Why a job failed: by the rule that `told` it, else by the provider's code, else by the state word."""
    by_code, by_word = definition.error.meaning_of(code), definition.error.meaning_of(word)
    meaning = told or by_code or by_word or definition.error.default
    message = reason_of(definition, document) or f"{definition.title} ended the job as {word or 'failed'}"
    return JobError(meaning.code, message, code or (word if by_word else None), meaning.is_retryable)
