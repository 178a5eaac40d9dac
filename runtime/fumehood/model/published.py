"""Makes the JSON Schema that people and editors read from a pydantic model; must never be
used to validate: the model itself does, and says more."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def published_schema(model: type[BaseModel], *parts: type[BaseModel]) -> dict[str, Any]:
    """The schema of `model` in 2020-12, without generated titles.

    Args:
        parts: models inside `model` that can be built without arguments; their defaults
            are written the way a person writes them (`10s`, not 10000).
    """
    schema = model.model_json_schema(mode="validation")
    for part in parts:
        target = schema["$defs"][part.__name__] if part is not model else schema
        written = part().model_dump(mode="json")
        for key, value in target["properties"].items():
            if "default" in value:
                value["default"] = written[key]
    _untitled(schema)
    return {"$schema": DIALECT, **schema}


def _untitled(schema: dict[str, Any]) -> None:
    """Drop the titles pydantic derives from names; properties called `title` stay."""
    schema.pop("title", None)
    for inner in (*schema.get("$defs", {}).values(), *schema.get("properties", {}).values()):
        _untitled(inner)
    for inner in schema.get("anyOf", ()):
        _untitled(inner)
