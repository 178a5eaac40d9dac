"""Whether a document is CycloneDX 1.5, by the published JSON Schema.

The schemas beside this are those of CycloneDX/specification (Apache-2.0), as cyclonedx-python-lib
7.6.2 carries them, without their descriptions.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from referencing import Registry, Resource


def faults(document: Any) -> list[str]:
    """What breaks the schema; empty for a valid document."""
    schemas = {
        path.name: json.loads(path.read_text()) for path in Path(__file__).parent.glob("*.json")
    }
    registry: Registry[Any] = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in schemas.values()
    )
    validator = Draft7Validator(schemas["bom-1.5.schema.json"], registry=registry)
    return [
        f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(document)
    ]
