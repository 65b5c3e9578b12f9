from __future__ import annotations

from pathlib import Path

from contract import ALL
from contract.schema import document, schemas

DOCUMENT = Path(__file__).parents[2] / "docs" / "schema.json"


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text() == document(), "run: python -m contract.schema > docs/schema.json"


def test_every_message_has_a_schema_that_names_its_job() -> None:
    found = schemas()
    assert set(found) == {cls.__name__ for cls in ALL}
    assert all("job" in entry["schema"]["required"] for entry in found.values())
