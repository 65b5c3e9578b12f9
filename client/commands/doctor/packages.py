"""Whether Python, and the packages that each part needs, are there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from client.commands.doctor.check import Check, fail, ok, warn

OURS = "stenobus"
SERVER = ("edge", "vad", "stt", "summary", "webhook", "compose")
"""Parts of a server, each an extra of our distribution with what it needs."""


def python(version: str, accepted: str) -> Check:
    """Whether this is a Python that we run on."""
    found = f"Python {version}, {sys.executable}"
    if SpecifierSet(accepted).contains(version, prereleases=True):
        return ok("python", found)
    return fail("python", found, f"install Python {accepted} and make the environment anew with it")


def this_python() -> Check:
    """Whether the Python that runs this will do."""
    version = ".".join(map(str, sys.version_info[:3]))
    return python(version, _ours().metadata["Requires-Python"])


def part(extra: str, *, optional: bool = False) -> Check:
    """Whether the packages of a part are installed, in versions that it takes."""
    judge = warn if optional else fail
    if extra not in (_ours().metadata.get_all("Provides-Extra") or []):
        return judge(f"packages: {extra}", "this program is newer than its installation", f"install {OURS} anew")
    missing = unmet(_ours().requires or [], extra, _installed)
    if not missing:
        return ok(f"packages: {extra}", "installed")
    return judge(f"packages: {extra}", f"missing: {', '.join(missing)}", f"pip install '{OURS}[{extra}]'")


def unmet(requirements: Sequence[str], extra: str, installed: Callable[[str], str | None]) -> list[str]:
    """The requirements of an extra that are not met, each with what is there in its place.

    requirements: as in a distribution's metadata. Extras of our own distribution are followed. installed: gives the
    version of a distribution, or None.
    """
    return list(dict.fromkeys(_unmet(requirements, extra, installed)))


def _unmet(requirements: Sequence[str], extra: str, installed: Callable[[str], str | None]) -> Iterator[str]:
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name == OURS:
            for nested in sorted(requirement.extras):
                yield from _unmet(requirements, nested, installed)
            continue
        version = installed(requirement.name)
        if version is None:
            yield f"{requirement.name}{requirement.specifier}"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name}{requirement.specifier} (there is {version})"


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _ours() -> metadata.Distribution:
    return metadata.distribution(OURS)
