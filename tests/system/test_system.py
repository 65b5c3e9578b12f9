"""The whole system, every part real, over a real WebSocket; only Ollama is a server of our own."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import jiwer
import pytest
import pytest_asyncio
import websockets
from faster_whisper import WhisperModel

from audio import decode, to_float32
from bus import connect
from contract import Dead
from tests.ollama_server import OllamaServer, serving
from tests.support import wait_until
from tools.system import MODEL, ROOT, System, running_system

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SAMPLES = ROOT / "samples"
FRAME_MS = (10, 100, 480, 1_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ollama() -> AsyncIterator[OllamaServer]:
    async with serving(OllamaServer(), port=0) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory, ollama: OllamaServer) -> AsyncIterator[System]:
    async with running_system(tmp_path_factory.mktemp("system"), OLLAMA_HOST=ollama.url) as started:
        yield started


async def stenobus(*arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", *arguments), cwd=ROOT, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def stream(system: System, sample: str, *arguments: str) -> list[dict[str, Any]]:
    """All messages of a capture; the client must end well."""
    status, out, err = await stenobus("stream", str(SAMPLES / sample), "--server", system.url, "--json", *arguments)
    assert status == 0, err
    return [json.loads(line) for line in out.splitlines()]


def segments(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = [message for message in messages if message["type"] == "transcript_segment"]
    return sorted(found, key=lambda segment: int(segment["index"]))


def spoken(sample: str) -> list[dict[str, Any]]:
    return list(json.loads((SAMPLES / sample).with_suffix(".json").read_text())["sentences"])


def word_error_rate(said: list[str], heard: list[str]) -> float:
    return float(jiwer.wer(plain(said), plain(heard)))


def plain(texts: list[str]) -> str:
    """Words alone, as they are counted."""
    return " ".join(re.findall(r"\w+", " ".join(texts).lower()))


def decode_alone(sample: str) -> list[str]:
    """Each sentence by itself through faster-whisper: what no system around it can be blamed for."""
    model = WhisperModel(str(MODEL), device="cpu", compute_type="int8")
    pcm = b"".join(decode(SAMPLES / sample))
    texts = []
    for sentence in spoken(sample):
        start, end = max(0, sentence["start"] - 4_800), sentence["end"] + 4_800
        found, _ = model.transcribe(to_float32(pcm[2 * start : 2 * end]))
        texts.append(" ".join(segment.text.strip() for segment in found))
    return texts


async def live_text(system: System, job: str) -> dict[str, Any]:
    """The record of a job with what its client was told while it was live."""
    async with httpx.AsyncClient(base_url=system.url) as http:
        found: dict[str, Any] = (await http.get(f"/api/v1/jobs/{job}?generation=1")).json()
        return found


@pytest.mark.slow
async def test_a_meeting_in_two_languages_is_transcribed_as_well_as_sentence_by_sentence(system: System) -> None:
    sentences = spoken("meeting.flac")
    assert len(sentences) >= 20
    assert {sentence["language"] for sentence in sentences} == {"en", "ko"}
    messages = await stream(system, "meeting.flac", "--fast")
    found = segments(messages)
    assert [segment["index"] for segment in found] == list(range(len(found)))
    assert all(before["end"] <= after["start"] for before, after in pairwise(found))
    said = [sentence["text"] for sentence in sentences]
    heard = word_error_rate(said, [segment["text"] for segment in found])
    alone = word_error_rate(said, await asyncio.to_thread(decode_alone, "meeting.flac"))
    assert heard <= alone + 0.02
    assert {segment["language"] for segment in found} == {"en", "ko"}
    for sentence in sentences:  # every sentence lies in a segment, whole
        at = [s for s in found if s["start"] * 16_000 <= sentence["start"] and sentence["end"] <= s["end"] * 16_000]
        assert at, sentence


@pytest.mark.slow
async def test_the_same_recording_gives_the_same_segments_however_it_is_sent(system: System) -> None:
    in_real_time, *fast = await asyncio.gather(
        stream(system, "korean.flac"),
        *(stream(system, "korean.flac", "--fast", "--frame-ms", str(length)) for length in FRAME_MS),
    )
    assert len(segments(in_real_time)) == len(spoken("korean.flac"))
    for messages in fast:
        assert segments(messages) == segments(in_real_time)


async def test_a_live_client_is_told_everything_in_order(system: System, ollama: OllamaServer) -> None:
    messages = await stream(system, "quiet.flac", "--language", "en")
    kinds = [message["type"] for message in messages]
    assert kinds[0] == "connection_success"
    assert kinds[-2:] == ["ack", "final_summary"]
    assert {"ack", "status", "transcript_segment"} <= set(kinds)
    samples = sum(len(chunk) for chunk in decode(SAMPLES / "quiet.flac")) // 2
    assert [m["samples"] for m in messages if m["type"] == "ack"][-1] == samples
    states = [message["state"] for message in messages if message["type"] == "status"]
    assert list(dict.fromkeys(states)) in (
        ["streaming", "transcribing", "summarizing"],
        ["streaming", "transcribing"],
        ["streaming", "summarizing"],
        ["streaming"],
    )
    final = messages[-1]
    assert final["summary"]["engine"] == "ollama"
    assert final["summary"]["model"] == "gemma3"
    assert final["transcript"].splitlines() == [segment["text"] for segment in segments(messages)]
    status, out, _ = await stenobus("job", final["job_id"], "--server", system.url, "--json")
    job = json.loads(out)
    assert status == 0
    assert (job["state"], job["summary"], job["generation"]) == ("completed", final["summary"], 2)
    live = await live_text(system, final["job_id"])
    assert live["transcript"] == final["transcript"]
    assert live["segments"] == [
        {name: value for name, value in segment.items() if name not in ("type", "segment_number")}
        for segment in segments(messages)
    ]


@pytest.mark.parametrize("sample", ["silence.flac", "noise.flac"])
async def test_a_meeting_without_speech_completes_and_says_so(system: System, sample: str) -> None:
    messages = await stream(system, sample, "--fast")
    final = messages[-1]
    assert not any(segment["text"] for segment in segments(messages))
    assert final["transcript"] == ""
    assert final["summary"]["engine"] == "none"
    assert final["summary"]["summary"].startswith("Nothing was said")


@pytest.mark.slow
async def test_speech_without_a_pause_is_cut_and_no_word_is_lost_or_doubled(system: System) -> None:
    found = segments(await stream(system, "monologue.flac", "--fast"))
    assert len(found) > 1
    assert all(segment["end"] - segment["start"] <= 28 for segment in found)
    assert all(before["end"] == after["start"] for before, after in pairwise(found))
    sentences = spoken("monologue.flac")
    assert found[0]["start"] * 16_000 <= sentences[0]["start"]
    assert found[-1]["end"] * 16_000 >= sentences[-1]["end"]


async def test_garbage_on_every_subject_is_dead_lettered_and_meetings_go_on(system: System) -> None:
    async with connect(system.bus_url) as bus:
        seqs = {}
        for subject in ("speech.garbage.1.live", "events.garbage.opened", "events.garbage.closed"):
            seqs[subject] = (await bus.connection.js.publish(subject, b"\xc1garbage")).seq
        for subject, stream_name in (("speech.garbage.1.live", "SPEECH"), ("events.garbage.opened", "EVENTS")):
            where = f"events.garbage.dead.{stream_name}.{seqs[subject]}"
            await wait_until(lambda where=where: bus.last_raw(where), description=where)
            dead = await bus.last(Dead, where)
            assert dead is not None
            assert dead.value.at == subject
    assert segments(await stream(system, "quiet.flac", "--fast"))


@pytest.mark.slow
async def test_jobs_survive_a_restart_of_everything(tmp_path: Path, ollama: OllamaServer) -> None:
    data = tmp_path / "data with spaces"
    async with running_system(data, OLLAMA_HOST=ollama.url) as first:
        final = (await stream(first, "quiet.flac", "--fast"))[-1]
    async with running_system(data, OLLAMA_HOST=ollama.url) as second:
        job = await live_text(second, final["job_id"])
        assert (job["state"], job["transcript"]) == ("completed", final["transcript"])
        assert segments(await stream(second, "quiet.flac", "--fast"))


async def read_messages(socket: websockets.ClientConnection, got: list[dict[str, Any]]) -> None:
    async for message in socket:
        got.append(json.loads(message))  # noqa: PERF401 - the test looks at them while they come


async def test_the_live_client_of_the_former_service_works_unmodified(system: System) -> None:
    """It creates a job without a body, sends 30 ms every 30 ms, pauses and closes; it prints what it gets."""
    got: list[dict[str, Any]] = []
    async with httpx.AsyncClient(base_url=system.url) as http:
        created = (await http.post("/api/v1/stream/create")).json()
        assert (created["job_type"], created["status"]) == ("REALTIME", "pending")
        url = f"{system.url.replace('http', 'ws')}/ws/v1/stream/{created['job_id']}"
        pcm = b"".join(decode(SAMPLES / "standup.flac"))[: 32_000 * 5]
        async with websockets.connect(url, proxy=None) as socket:
            reading = asyncio.create_task(read_messages(socket, got))
            for at in range(0, len(pcm), 960):
                await socket.send(pcm[at : at + 960])
                await asyncio.sleep(0.03)
            await wait_until(lambda: segments(got), description="a segment", timeout=60)
        await reading
        assert (got[0]["type"], got[0]["job_id"]) == ("connection_success", created["job_id"])
        assert got[0]["message"]
        assert all(segment["segment_number"] == segment["index"] + 1 for segment in segments(got))

        async def completed() -> bool:
            return bool((await http.get(f"/api/v1/jobs/{created['job_id']}")).json()["state"] == "completed")

        await wait_until(completed, description="the job is completed", timeout=60)
