"""All settings as a document, made from the models that read them: `python -m tools.settings > docs/settings.md`."""

from __future__ import annotations

import ast
import importlib
import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

ROOT = Path(__file__).parents[1]

PARTS = {
    "bus": "Every process",
    "edge": "Edge",
    "store": "Store",
    "processors.vad": "Segmenter (vad)",
    "processors.stt": "Speech to text (stt)",
    "processors.summary": "Summary",
}
"""Headings in order of appearance; a processor that is not named here comes behind them under its own name."""

INTRODUCTION = """# Settings

All settings are environment variables. A part reads those of its own table, the bus's and, where it uses the store, the
store's. A bad value stops the start with one sentence that names the variable, its value and what is accepted.

`STENOBUS_CACHE` is the folder in whose `models/` a speech model is looked up by its name before it is downloaded, by
default `stenobus` in `XDG_CACHE_HOME`, else in `~/.cache`.

`stenobus up` and `./justw up` set `NATS_URL`, `STORE_URL`, `EDGE_HOST` and `EDGE_PORT` for their parts.

This page is generated: `python -m tools.settings > docs/settings.md`.
"""


def settings_models() -> Iterator[tuple[str, type[BaseSettings]]]:
    """Each settings model of the product with the package that reads it."""
    for package in ("bus", "edge", "store", "processors"):
        for path in sorted((ROOT / package).rglob("*.py")):
            names = [
                node.name
                for node in ast.parse(path.read_text()).body
                if isinstance(node, ast.ClassDef)
                and any(isinstance(base, ast.Name) and base.id == "BaseSettings" for base in node.bases)
            ]
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            reader = ".".join(module.split(".")[:2]) if package == "processors" else package
            for name in names:
                yield reader, getattr(importlib.import_module(module), name)


def document() -> str:
    """The page as Markdown."""
    tables: dict[str, list[str]] = {reader: [] for reader in PARTS}
    for reader, model in settings_models():
        tables.setdefault(reader, []).extend(_rows(model))
    pages = [INTRODUCTION]
    for reader, rows in tables.items():
        heading = PARTS.get(reader) or reader.removeprefix("processors.").capitalize()
        head = [f"## {heading}\n", "| variable | accepts | default | meaning |", "|---|---|---|---|"]
        pages.append("\n".join([*head, *rows, ""]))
    return "\n".join(pages)


def _rows(model: type[BaseSettings]) -> Iterator[str]:
    prefix = model.model_config.get("env_prefix", "")
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        variable = str(alias.choices[0]) if isinstance(alias, AliasChoices) else (prefix + name).upper()
        if not field.description:
            raise ValueError(f"{variable} has no description")
        yield f"| `{variable}` | {_accepted(field)} | {_default(field)} | {field.description} |"


def _accepted(field: FieldInfo) -> str:
    bounds = []
    for bound in field.metadata:
        match bound:
            case Ge(ge=least):
                bounds.append(f"from {least:,}")
            case Gt(gt=least):
                bounds.append(f"above {least:,}")
            case Le(le=most):
                bounds.append(f"to {most:,}")
            case Lt(lt=most):
                bounds.append(f"below {most:,}")
    return " ".join([_kind(field.annotation), *bounds])


def _kind(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        return " or ".join(_kind(each) for each in get_args(annotation) if each is not type(None))
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    names = {int: "whole number", float: "number", bool: "`0` or `1`", str: "text", SecretStr: "text"}
    return names.get(annotation) or inspect.formatannotation(annotation)


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None or default == "":
        return "none"
    if isinstance(default, bool):
        return f"`{int(default)}`"
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"`{default}`"


if __name__ == "__main__":
    print(document(), end="")
