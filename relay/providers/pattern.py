"""Patterns for texts from outside: they are held to them in the web process, which no text may keep busy."""

import re

from pydantic_core import SchemaError, SchemaValidator, core_schema


class Pattern:
    """
    A regular expression for the whole of a text, run by pydantic's engine, which never backtracks.

    ValueError for what is none, and for what only a backtracking engine knows: looking around, referring back.
    """

    __slots__ = ("_validator", "source")

    def __init__(self, source: object) -> None:
        if not isinstance(source, str):
            raise ValueError("a regular expression is a text")  # noqa: TRY004 - pydantic collects ValueErrors only
        try:
            re.compile(source)  # alone, for in the group below `a)(b` would be one
            self._validator = SchemaValidator(core_schema.str_schema(pattern=f"^(?:{source})$", strict=True))
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        except SchemaError as error:
            raise ValueError(f"not a regular expression that can be used here: {_reason(error)}") from None
        self.source = source

    def __repr__(self) -> str:
        return f"Pattern({self.source!r})"

    def fits(self, text: str) -> bool:
        """True when the whole of `text` is as the pattern says."""
        return self._validator.isinstance_python(text)


def _reason(error: SchemaError) -> str:
    """The engine's last line; those before it repeat and underline the pattern."""
    return str(error).splitlines()[-1].strip().removeprefix("error: ").removeprefix("SchemaError: ")
