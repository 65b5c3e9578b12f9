"""What our edge is compared with does the same work for the same clients."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from audio import write_flac
from bench.deployment import deployed, inprocess_part, naive_part
from bench.load import Plan, generating
from bench.load.sound import SPEECH, Sound, load
from bench.speech import load_sentences
from bus import connect
from contract import RATE, WIDTH
from contract.audio import audio_subject, decode_audio
from tools.system import MODEL, ROOT

pytestmark = pytest.mark.slow


async def test_naive_stores_and_acknowledges_all_audio(tmp_path: Path) -> None:
    async with deployed(tmp_path, [naive_part()]) as system:
        for leave in (True, False):
            async with generating(Plan(system.url, 2, leave=leave, ramp=0.0, settle=0.7)) as clients:
                report = await clients.finish()
            assert report.excuse() == ""
            assert all(one.acked == one.samples > 0 for one in report.meetings)
        one, sound = report.meetings[0], Sound(load(SPEECH), 480)
        place = sound.place(one.stream)
        async with connect(system.bus_url) as bus:
            stored = [decode_audio(raw.data) for raw in await bus.history("AUDIO", audio_subject(one.job))]
    assert [frame.pcm for frame in stored] == [sound.frame(place + number) for number in range(one.samples // 480)]
    assert (tmp_path / "edge.log").read_text() == ""


async def test_inprocess_transcribes_each_sentence(tmp_path: Path) -> None:
    sentence = next(one for one in load_sentences(ROOT / "samples") if one.text == "We need two more testers.")
    write_flac(tmp_path / "talk.flac", sentence.pcm + bytes(RATE * WIDTH) + sentence.pcm)
    async with deployed(tmp_path, [inprocess_part(str(MODEL))]) as system:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "client", "stream", str(tmp_path / "talk.flac"), "--server", system.url),
            *("--fast", "--json"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    messages = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 0
    finals = {message["index"]: message["text"] for message in messages if message["type"] == "transcript_segment"}
    assert finals == {0: sentence.text, 1: sentence.text}
    assert messages[-1]["transcript"] == f"{sentence.text} {sentence.text}"
    assert (tmp_path / "edge.log").read_text() == ""
