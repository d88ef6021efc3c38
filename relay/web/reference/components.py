"""The schemas of the OpenAPI document: every shape and body under its own name, with an example that fits."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from relay.web.calls import OpenRoute, Operation
from relay.web.reference.examples import ANSWERS, PARTS, REQUESTS
from relay.web.reference.fields import FIELDS
from relay.web.reference.shapes import Problem
from relay.web.schemas import Nothing

REFERENCE = "#/components/schemas/{model}"
# What may be said of a value that can be null as well, and means nothing for null.
OF_SCALARS = {"type", "format", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum"}
PATH_PARAMETER = re.compile(r"\{(\w+)\}")

Schema = dict[str, Any]


def schema_components(
    operations: Iterable[Operation], routes: Iterable[OpenRoute], others: Iterable[type[BaseModel]]
) -> dict[str, Schema]:
    """Each model that the routes take or show, the `others`, and whatever is inside of them."""
    operations = tuple(operations)
    models = _models(operations, routes, others)
    _, generated = models_json_schema([(model, "validation") for model in models], ref_template=REFERENCE)
    schemas = {_name(name): told for name, told in generated["$defs"].items()}
    patched = [one.body for one in operations if one.method == "PATCH" and one.body is not None]
    schemas |= {f"{model.__name__}Patch": _merge_patch(model) for model in patched}
    examples = _examples(schemas)
    described = {name: plain(_described(name, told)) for name, told in schemas.items()}
    return {
        name: {**told, "examples": [examples[name]]} if name in examples else told for name, told in described.items()
    }


def reference_to(model: type[BaseModel]) -> Schema:
    """A reference to the model's schema."""
    return {"$ref": REFERENCE.format(model=re.sub(r"^Page\[(\w+)\]$", r"\1Page", model.__name__))}


def target(schema: Schema) -> str:
    """The name of the schema that is referred to; empty for one that says itself what it is."""
    return str(schema.get("$ref", "")).rpartition("/")[2]


def plain(field: Schema) -> Schema:
    """The field without what pydantic says of it twice: a title made of its name, null as what absence means."""
    told = {key: value for key, value in field.items() if key != "title" and (key != "default" or value is not None)}
    kinds = told.get("anyOf", [])
    if len(kinds) != 2 or kinds[1] != {"type": "null"} or not set(kinds[0]) <= OF_SCALARS:
        return told
    del told["anyOf"]
    return {**kinds[0], "type": [kinds[0]["type"], "null"], **told}


def _name(generated: str) -> str:
    """pydantic writes a generic model's name its own way, whatever the model says of itself."""
    return re.sub(r"^Page_(\w+)_$", r"\1Page", generated)


def _models(
    operations: Iterable[Operation], routes: Iterable[OpenRoute], others: Iterable[type[BaseModel]]
) -> list[type[BaseModel]]:
    taken = [one.body for one in operations if one.method != "PATCH" and one.body is not Nothing]
    shown = [one.shows for one in operations] + [one.shows for one in routes]
    models = {model.__name__: model for model in (*taken, *shown, *others, Problem) if model is not None}
    return [models[name] for name in sorted(models)]


def _merge_patch(model: type[BaseModel]) -> Schema:
    """Any of the model's fields; null sets one back, where the model allows that it is absent."""
    return {
        "type": "object",
        "description": f"A merge patch (RFC 7396) of {model.__name__}.",
        "properties": model.model_json_schema(ref_template=REFERENCE)["properties"],
        "additionalProperties": False,
    }


def _described(name: str, schema: Schema) -> Schema:
    if "properties" not in schema:
        return schema
    fields = {field: _field(name, field, told) for field, told in schema["properties"].items()}
    return {**schema, "properties": fields}


def _field(shape: str, name: str, told: Schema) -> Schema:
    about = FIELDS.get(f"{shape}.{name}") or FIELDS.get(name)
    return {**plain(told), **({"description": about} if about and "const" not in told else {})}


def _examples(schemas: dict[str, Schema]) -> dict[str, Any]:
    """By the name of a schema: what was written for it, or else the first that an example of another holds of it."""
    written = {**PARTS, **REQUESTS, **ANSWERS}
    examples = {name: written[name] for name in schemas if name in written}
    for name in schemas:
        if name.endswith("Patch"):
            examples[name] = REQUESTS[name.removesuffix("Patch")]
        elif name.endswith("Page"):
            rows = [ANSWERS[name.removesuffix("Page")]]
            examples[name] = {"data": rows, "next_cursor": "ImpvYl8wMWtj…", "prev_cursor": None}
    for name, example in list(examples.items()):
        _gather(schemas, schemas[name], example, examples)
    return examples


def _gather(schemas: dict[str, Schema], schema: Schema, value: Any, examples: dict[str, Any]) -> None:
    if name := target(schema):
        if isinstance(value, dict):
            examples.setdefault(name, value)
        _gather(schemas, schemas[name], value, examples)
    elif "discriminator" in schema:
        kinds = schema["discriminator"]
        _gather(schemas, {"$ref": kinds["mapping"][value[kinds["propertyName"]]]}, value, examples)
    elif isinstance(value, list):
        for one in value:
            _gather(schemas, schema.get("items", {}), one, examples)
    elif isinstance(value, dict):
        for choice in schema.get("anyOf", ()):
            _gather(schemas, choice, value, examples)
        more = schema.get("additionalProperties")
        for key, one in value.items():
            inner = schema.get("properties", {}).get(key, more)
            if isinstance(inner, dict):
                _gather(schemas, inner, one, examples)
