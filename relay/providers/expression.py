"""JMESPath that is checked when it is loaded and can do no harm when it is used."""

import warnings
from collections.abc import Iterator
from typing import Any, cast

import jmespath
import structlog
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

log = structlog.get_logger(__name__)

ANSWER_NAMES = frozenset({"status", "headers", "body", "word", "meaning"})  # what an expression over an answer can see
SEES_ELSEWHERE = frozenset({"subexpression", "index_expression", "pipe", "projection", "value_projection", "flatten"})


class Expression:
    """
    A compiled expression. ValueError for whatever would make it useless: bad syntax, an unknown function, a wrong
    number of arguments, the deprecated string literal, a negation that binds too early, or a name at its root that
    is not in `names` (None: anything goes), most often a word in double quotes, which JMESPath takes for the name
    of a field.
    """

    __slots__ = ("_has_warned", "_parsed", "source")

    def __init__(self, source: object, names: frozenset[str] | None = None) -> None:
        if not isinstance(source, str) or not source.strip():
            raise ValueError("an expression is a text in JMESPath")
        self.source = source
        self._has_warned = False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                self._parsed = jmespath.compile(source)
        except JMESPathError as error:
            raise ValueError(f"not JMESPath: {' '.join(str(error).split())}") from None
        except Warning:
            raise ValueError("a text between backticks must be JSON; write a word in single quotes") from None
        tree = cast(dict[str, Any], self._parsed.parsed)
        faults = [*_function_faults(tree), *_negation_faults(tree), *_name_faults(tree, names)]
        if faults:
            raise ValueError("; ".join(faults))

    def __repr__(self) -> str:
        return f"Expression({self.source!r})"

    def search(self, document: Any) -> Any:
        """What the expression finds; None when it finds nothing, or raises (a warning, once for each process)."""
        try:
            return self._parsed.search(document)
        except Exception as error:  # noqa: BLE001 - jmespath raises its own errors, TypeError, RecursionError …
            if not self._has_warned:
                self._has_warned = True
                log.warning("expression_raised", expression=self.source, reason=str(error)[:200])
            return None

    def holds(self, document: Any) -> bool:
        """True when what is found counts as true in JMESPath: 0 does; null, false and anything empty do not."""
        found = self.search(document)
        return found is not None and found is not False and (isinstance(found, int | float) or bool(found))


def over_answer(source: object) -> Expression:
    """
    An expression over `{status, headers, body, word, meaning}`: header names are in lower case, `word` is the state
    word and `meaning` the outcome that the definition lists for it.
    """
    return Expression(source, ANSWER_NAMES)


def over_item(source: object) -> Expression:
    """An expression over one element of a list."""
    return Expression(source)


def _function_faults(node: dict[str, Any]) -> Iterator[str]:
    """jmespath finds these only when it runs."""
    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        known = Functions.FUNCTION_TABLE.get(name)
        if known is None:
            yield f"there is no function {name}()"
        else:
            signature = known["signature"]
            is_variadic = bool(signature) and signature[-1].get("variadic", False)
            if given < len(signature) or (given > len(signature) and not is_variadic):
                yield f"{name}() takes {len(signature)} argument(s), not {given}"
    for child in _children(node):
        yield from _function_faults(child)


def _negation_faults(node: dict[str, Any]) -> Iterator[str]:
    """In JMESPath `!` binds more tightly than the dot: `!a.b` is the field b of a boolean, which is never there."""
    for child in _children(node):
        if child["type"] == "not_expression" and node["type"] in SEES_ELSEWHERE:
            yield "!a.b means (!a).b; write !(a.b)"
        yield from _negation_faults(child)


def _name_faults(node: dict[str, Any], names: frozenset[str] | None) -> Iterator[str]:
    if names is None:
        return
    if node["type"] == "field" and node["value"] not in names:
        yield (
            f"there is no {node['value']!r} beside {', '.join(sorted(names))} (a word is written in single quotes,"
            " a number or true between backticks)"
        )
    children = list(_children(node))
    if node["type"] in SEES_ELSEWHERE or node["type"] == "filter_projection":
        children = children[:1]
    if node["type"] == "expref":
        children = []
    for child in children:
        yield from _name_faults(child, names)


def _children(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for child in node.get("children", ()):
        if isinstance(child, dict):
            yield child
