"""One place has the product's version, one the contract's number; the documents agree with both."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

from contract import VERSION

ROOT = Path(__file__).parents[1]
PRODUCT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def test_the_newest_changes_are_those_of_this_version() -> None:
    assert re.findall(r"^## (.+)$", CHANGELOG, re.MULTILINE)[0] == PRODUCT
    assert version("stenobus") == PRODUCT, "the installed package is older than pyproject.toml: ./justw install"


def test_the_documents_name_the_contract() -> None:
    assert re.findall(r"\bContract (\d+)", CHANGELOG)[0] == str(VERSION)
    contract = (ROOT / "docs" / "contract.md").read_text()
    assert re.findall(r"This is contract (\d+)", contract) == [str(VERSION)]
