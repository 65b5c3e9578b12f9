"""Segmentation of stored audio whose output is its only state.

The last utterance of a generation says where segmentation stands: whoever takes over reads the audio from there on and
decides what the former owner would have decided. Each utterance is stored only if the one before it is still the last,
so that an owner that lost its lease without knowing finds out at its next write.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import structlog

from bus import Bus, Conflict, Fenced
from bus.claim import decode_utterance, last_utterance
from bus.feed import StoredAudio, Work
from bus.reassembly import Gap, Reassembler
from contract import WIDTH, ContractError, Dead, Source, SpeechOptions, Utterance, dead_letter
from contract.audio import audio_subject, decode_audio
from processors.vad.classifier import webrtc_detector
from processors.vad.core import Segment, Segmenter
from processors.vad.settings import Plan

log = structlog.get_logger()


class Counted(NamedTuple):
    """What a generation has: utterances, and samples of audio."""

    segments: int
    samples: int


class Checkpointed:
    """One generation of one job in the hands of its owner.

    How it is read is for those to say who inherit this; what more they do, in the other methods they share with it.
    """

    def __init__(
        self, bus: Bus, job: str, source: Source, generation: int, options: SpeechOptions, plan: Plan, epoch: int
    ) -> None:
        self._bus = bus
        self._job = job
        self._source: Source = source
        self._generation = generation
        self._options = SpeechOptions(**options.model_dump())
        self._plan = plan
        self._epoch = epoch
        self._index = 0
        self._last_seq = 0
        self._before = bytearray()
        self._segmenter: Segmenter | None = None

    async def segment(self) -> Counted:
        """Segment the audio from where its generation stands to its end; raises Fenced where another one does."""
        done, self._last_seq = await last_utterance(self._bus, self._job, self._source, self._generation)
        if done and done.last:
            return Counted(done.index, done.end)
        self._begin(done)
        after = done.audio_seq - 1 if done else 0
        while True:
            try:
                await self._read(after)
                if self._reassembler.gap is not None:
                    raise self._reassembler.gap
                return await self._finish(self._reassembler.expected)
            except Gap as gap:
                log.error("audio is gone", job=self._job, expected=self._reassembler.expected, goes_on_at=gap.sample)
                self._reassembler.skip(gap)
                segments = self._skip(gap.sample)
                self._on_cut(segments)
                await self._publish(segments)
                after = gap.seq - 1

    def _begin(self, done: Utterance | None) -> None:
        """Stand behind the last utterance."""
        self._index = done.index + 1 if done else 0
        self._start, self._continues = (done.end, done.continues) if done else (0, False)
        # What a detector says of what comes depends on what was before, which is therefore read first.
        self._reassembler = Reassembler(self._start)

    async def _read(self, after: int) -> None:
        """Have `_take` take the audio messages behind a sequence, to the end of the audio or of what there is."""
        raise NotImplementedError

    def _take(self, stored: list[StoredAudio]) -> Work | None:
        """Take stored messages, as far as nothing has to be waited for; gives the rest."""
        sound: list[bytes] = []
        segments: list[Segment] = []
        bad: list[Dead] = []
        gap: Gap | None = None
        last = False
        for seq, data in stored:
            try:
                frame = decode_audio(data)
                sound.append(self._reassembler.take(seq, frame))
            except ContractError as exc:
                bad.append(dead_letter("AUDIO", seq, audio_subject(self._job), str(exc)))
                continue
            except Gap as exc:
                gap = exc
                break
            if frame.cut and self._reassembler.cuts(frame):
                segments += self._hear(b"".join(sound)) + self._cut(frame.start)
                sound.clear()
            if frame.last:
                last = True
                break
        segments += self._hear(b"".join(sound))
        if segments or bad or gap or last:
            self._on_cut(segments)
            return self._store(segments, bad, gap, last)
        self._on_taken()
        return None

    def _on_cut(self, segments: Sequence[Segment]) -> None:
        """Segments have ended, and are about to be stored."""

    def _on_taken(self) -> None:
        """A message was dealt with."""

    def _forget(self) -> None:
        """Let go what cannot be asked for any more; to be called now and then."""
        if self._segmenter is not None:
            self._reassembler.forget(self._plan.parameters.resume_from(self._segmenter.floor))

    def _on_stored(self, segment: Segment) -> None:
        """An utterance was stored."""

    async def _store(self, segments: list[Segment], bad: list[Dead], gap: Gap | None, last: bool) -> bool:
        for letter in bad:
            await self._bus.create(letter)
        await self._publish(segments)
        if gap is not None:
            raise gap
        self._on_taken()
        return last

    def _hear(self, pcm: bytes) -> list[Segment]:
        """Take the sound that follows; what lies before the checkpoint only tells which frames are voiced."""
        if self._segmenter is None:
            self._before += pcm
            over = (self._reassembler.expected - self._start) * WIDTH
            if over < 0:
                return []
            split = len(self._before) - over
            self._segmenter = self._new_segmenter(bytes(self._before[:split]))
            pcm = bytes(self._before[split:])
        return self._segmenter.feed(pcm)

    def _cut(self, at: int) -> list[Segment]:
        return [] if self._segmenter is None else self._segmenter.cut(at)

    def _skip(self, to: int) -> list[Segment]:
        if self._segmenter is not None:
            return self._segmenter.skip(to)
        self._before.clear()
        if to >= self._start:
            self._start, self._continues = to, False
            self._segmenter = self._new_segmenter(b"")
        return []

    def _new_segmenter(self, before: bytes) -> Segmenter:
        return Segmenter(
            partial(webrtc_detector, self._plan.aggressiveness),
            self._plan.parameters,
            start=self._start,
            continues=self._continues,
            before=before,
        )

    async def _publish(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            await self._append(
                Utterance(
                    job=self._job,
                    generation=self._generation,
                    source=self._source,
                    index=self._index,
                    start=segment.start,
                    end=segment.end,
                    pcm=segment.pcm,
                    continues=segment.continues,
                    audio_seq=self._reassembler.sequence_of(self._plan.parameters.resume_from(segment.end)),
                    epoch=self._epoch,
                    options=self._options,
                )
            )
            self._index += 1
            self._on_stored(segment)

    async def _append(self, utterance: Utterance) -> None:
        while True:
            try:
                self._last_seq = await self._bus.append(utterance, self._last_seq)
                return
            except Conflict as conflict:
                found = conflict.found
            if found is None:  # what we wrote has outlived its retention
                self._last_seq = 0
            elif decode_utterance(found) is None:
                self._last_seq = found.seq  # not a writer's, but garbage, which readers of speech dead-letter
            else:
                raise Fenced(f"{found.subject} has another writer")

    async def _finish(self, end: int) -> Counted:
        if self._segmenter is not None:
            segments = self._segmenter.finish()
            self._on_cut(segments)
            await self._publish(segments)
        await self._append(
            Utterance(
                job=self._job,
                generation=self._generation,
                source=self._source,
                index=self._index,
                start=end,
                end=end,
                last=True,
                epoch=self._epoch,
            )
        )
        return Counted(self._index, end)
