"""A message of each class in which no field has its default, and audio frames."""

from __future__ import annotations

from contract import (
    ActionItem,
    Attached,
    Closed,
    Completed,
    Dead,
    JobOptions,
    Message,
    Opened,
    Partial,
    Progress,
    Redrive,
    Redriven,
    Replay,
    Replayed,
    Segmented,
    Snapshot,
    Speaking,
    SpeechOptions,
    Summary,
    Transcript,
    Utterance,
    VadOptions,
    Window,
    Word,
)
from contract.audio import AudioFrame

_SPEECH = SpeechOptions(
    language="ko",
    allowed_languages=["ko", "en"],
    prompt="예산, the budget",
    hotwords="Stenobus 강남",
    task="translate",
    model="large-v3",
)

_VAD = VadOptions(
    aggressiveness=3,
    onset_ms=120,
    padding_ms=240,
    hangover_ms=450,
    endpointing="adaptive",
    min_hangover_ms=300,
    max_hangover_ms=900,
    max_ms=20_000,
)

_OPTIONS = JobOptions(
    **_SPEECH.model_dump(),
    title="주간 회의",
    sample_rate=48_000,
    encoding="pcm_f32le",
    source="upload",
    partials=False,
    correct=True,
    vad=_VAD,
    summary=False,
    webhook_url="https://example.com/hook?a=1",
    metadata={"room": "R7", "seats": 12, "tags": ["weekly", None], "ratio": 0.5, "open": True},
)

_PCM = b"\x00\x00\xff\x7f\x00\x80\x01\x00"
"""Four samples: silence, the loudest, the lowest, and one step."""

FULL: tuple[Message, ...] = (
    Opened(job="m-1_A", options=_OPTIONS),
    Closed(job="m-1_A", samples=480_000, reason="stop"),
    Segmented(job="m-1_A", segments=4, samples=480_000),
    Transcript(
        job="m-1_A",
        generation=2,
        index=3,
        start=70_000,
        end=4_294_967_296,
        text="예산은 그대로입니다. The budget stays.",
        language="ko",
        language_probability=0.875,
        confidence=0.75,
        no_speech_probability=0.0625,
        compression_ratio=1.25,
        words=[
            Word(word="예산은", start=70_400, end=75_200, probability=0.5),
            Word(word="그대로입니다.", start=75_200, end=84_800, probability=1.0),
        ],
        model="large-v3-turbo",
        model_hash="0123456789abcdef",
        decoding={"beam_size": 5, "temperature": 0.0, "word_timestamps": True, "hotwords": None},
        elapsed=0.25,
        timing={"queue": 0.01, "generate": 0.25},
        error="OutOfMemory: 12 GiB",
    ),
    Summary(
        job="m-1_A",
        title="Budget",
        summary="The budget stays as it is.",
        key_points=["The budget stays.", "예산은 그대로."],
        decisions=["No change."],
        action_items=[ActionItem(who="Mina", what="tell the customers", due="Friday")],
        language="en",
        engine="ollama",
        model="gemma3",
        reason="the second answer was usable",
        generation=2,
    ),
    Completed(job="m-1_A", segments=4, samples=480_000, generation=2),
    Replay(job="m-1_A", generation=2, speed=1.5, options=_OPTIONS),
    Replayed(job="m-1_A", generation=2, segments=4, samples=480_000),
    Dead(
        job="m-1_A", stream="SPEECH", seq=70_001, at="speech.m-1_A.1.live", reason="OutOfMemory: 12 GiB", worker="stt"
    ),
    Redrive(job="m-1_A", worker="stt", stream="SPEECH", seq=70_001),
    Redriven(job="m-1_A", worker="stt", stream="SPEECH", seq=70_001),
    Utterance(
        job="m-1_A",
        generation=2,
        source="replay",
        index=3,
        previous_seq=69_999,
        start=70_000,
        end=70_004,
        pcm=_PCM,
        lead=b"\x03\x00" * 2,
        window=Window(first=2, samples=32_000),
        last=True,
        continues=True,
        audio_seq=9_000,
        epoch=2,
        options=_SPEECH,
    ),
    Progress(job="m-1_A", heard=96_000, floor=90_000, segments=4, start=70_000),
    Speaking(job="m-1_A", index=4, start=90_000, end=96_000, first=True, partials=False, settled=95_000),
    Partial(job="m-1_A", index=4, start=90_000, end=96_000, text="그리고 다음", stable=3, language="ko"),
    Attached(job="m-1_A", claim=9_001),
    Snapshot(
        job="m-1_A",
        index=4,
        previous_seq=70_001,
        start=90_000,
        end=90_004,
        pcm=_PCM,
        lead=_PCM,
        settled=90_002,
        options=_SPEECH,
    ),
)

FRAMES: dict[str, AudioFrame] = {
    "sound": AudioFrame(480_000, _PCM),
    "claim": AudioFrame(480_004, b""),
    "cut": AudioFrame(480_004, b"", cut=True),
    "last": AudioFrame(480_004, b"", last=True),
    "far": AudioFrame(2**40, _PCM, generation=513),
}
"""Audio frames by their meaning; a claim has neither samples nor flags."""
