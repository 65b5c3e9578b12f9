from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from audio import AudioError, write_flac
from client.errors import ClientError
from client.session.source import Findings, in_thread, pcm
from tests.support import wait_until

SOUND = bytes(range(256)) * 100


def never(sentence: str) -> None:
    pytest.fail(f"nothing is unusual, yet: {sentence}")


def test_raw_samples_are_taken_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "sound.raw").write_bytes(SOUND)
    assert b"".join(pcm(str(tmp_path / "sound.raw"), Findings(never), raw=True)) == SOUND


def test_a_file_is_decoded(tmp_path: Path) -> None:
    write_flac(tmp_path / "sound.flac", SOUND)
    findings = Findings(never)
    assert b"".join(pcm(str(tmp_path / "sound.flac"), findings)) == SOUND
    assert findings.holes == []


@pytest.mark.parametrize("raw", [False, True])
def test_a_missing_file_is_named(raw: bool) -> None:
    with pytest.raises(AudioError, match=r"nowhere\.wav: no such file"):
        next(pcm("nowhere.wav", Findings(never), raw=raw))


async def test_chunks_keep_their_order() -> None:
    chunks = [str(number).encode() for number in range(500)]
    assert [chunk async for chunk in in_thread(chunks)] == chunks


async def test_an_error_comes_after_the_chunks_before_it() -> None:
    def broken() -> Iterator[bytes]:
        yield b"first"
        raise AudioError("the rest is damaged")

    source = in_thread(broken())
    assert await anext(source) == b"first"
    with pytest.raises(AudioError, match="the rest is damaged"):
        await anext(source)


async def test_any_other_failure_of_the_thread_is_a_sentence() -> None:
    def broken() -> Iterator[bytes]:
        yield b"first"
        raise SystemExit

    source = in_thread(broken())
    assert await anext(source) == b"first"
    with pytest.raises(ClientError, match=r"reading the audio failed: SystemExit\(\)"):
        await anext(source)


async def test_reading_ahead_is_bounded_and_ends_with_the_reader() -> None:
    taken = 0
    ended = threading.Event()

    def endless() -> Iterator[bytes]:
        nonlocal taken
        try:
            while True:
                taken += 1
                yield b"x"
        finally:
            ended.set()

    source = endless()
    async with aclosing(in_thread(source)) as chunks:
        await anext(chunks)
        await wait_until(lambda: taken == 34, description="32 chunks ahead of the one taken and one in hand")
    await wait_until(lambda: not any(t.name == "source" for t in threading.enumerate()), description="the thread ends")
    assert taken == 34
