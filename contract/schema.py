"""The JSON Schema of each message: `python -m contract.schema > docs/schema.json`."""

from __future__ import annotations

import json
from typing import Any

from contract import ALL


def schemas() -> dict[str, Any]:
    """Subject, stream and JSON Schema of each message class, by its name; bytes appear as strings there."""
    return {
        cls.__name__: {
            "subject": cls.SUBJECT,
            "stream": cls.STREAM,
            "schema": cls.model_json_schema(mode="serialization"),
        }
        for cls in ALL
    }


def document() -> str:
    """All schemas as JSON text, indented so that changes show well in a diff."""
    return json.dumps(schemas(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - its output is the document
