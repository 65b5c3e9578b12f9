"""Whether two versions of the contract are compatible, by their JSON Schemas alone. Pure.

Messages are stored for days and read by programs that nobody here knows. So new readers must understand old messages,
and old readers new messages. A field is never removed; it keeps its type, its bounds and its values (not even an
enumeration may grow, because an old reader would refuse the message), and it stays required or optional. Only fields
with a default and kinds of messages can be added.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_ANNOTATIONS = {"title", "description", "examples"}


def breaks(old: Json, new: Json) -> list[str]:
    """The incompatible changes, a sentence each; `old` and `new` are results of `contract.schema.schemas()`."""
    found = []
    for name, before in old.items():
        if name not in new:
            found.append(f"{name}: is gone")
            continue
        found += [
            f"{name}: {what} was {before[what]}, is {new[name][what]}"
            for what in ("subject", "stream")
            if before[what] != new[name][what]
        ]
    after = _classes(new)
    for place, cls in _classes(old).items():
        if place in after:
            found += [f"{place[1]}.{change}" for change in _fields(cls, after[place])]
    return list(dict.fromkeys(found))  # several messages may share a class


def _classes(schemas: Json) -> dict[tuple[str, str], Json]:
    """Every class, including those of fields, by the name of the message and its own."""
    found: dict[tuple[str, str], Json] = {}
    for name, entry in schemas.items():
        found |= {(name, inner): cls for inner, cls in entry["schema"].get("$defs", {}).items()}
        found[name, name] = entry["schema"]
    return found


def _fields(old: Json, new: Json) -> list[str]:
    found = []
    before, after = old.get("properties", {}), new.get("properties", {})
    required = set(old.get("required", [])), set(new.get("required", []))
    for name in before:
        if name not in after:
            found.append(f"{name}: is gone")
        elif (was := _meaning(before[name])) != (now := _meaning(after[name])):
            found.append(f"{name}: was {was}, is {now}")
        elif (name in required[0]) != (name in required[1]):
            found.append(f"{name}: was {_need(name, required[0])}, is {_need(name, required[1])}")
    return found + [f"{name}: is new and required" for name in after if name not in before and name in required[1]]


def _need(name: str, required: set[str]) -> str:
    return "required" if name in required else "optional"


def _meaning(schema: Any) -> Any:
    """A schema without descriptions, and without default objects, whose classes have the defaults themselves."""
    if isinstance(schema, list):
        return [_meaning(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _meaning(value)
        for key, value in schema.items()
        if key not in _ANNOTATIONS and not (key == "default" and isinstance(value, dict))
    }
