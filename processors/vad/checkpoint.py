"""Where the segmentation of a job stands: its last utterance, which is all the state that there is.

A worker that takes a job over reads the audio from there on, and decides what its predecessor would have decided. Each
utterance is stored only if the one before is still the last (a fence), so a worker that lost its lease without noticing
finds out at its next write.
"""

from __future__ import annotations

from functools import partial

from bus import Bus, Conflict, Fenced
from bus.speech import decode_utterance, last_utterance
from contract import WIDTH, Source, SpeechOptions, Utterance, Window
from processors.vad.core import Segment, Segmentation
from processors.vad.settings import Plan, webrtc_detector
from processors.vad.windows import next_window


class Checkpoint:
    """The last utterance of one generation of a job, and the right to store the next one."""

    def __init__(
        self,
        bus: Bus,
        job: str,
        *,
        source: Source,
        generation: int = 1,
        options: SpeechOptions,
        epoch: int,
        windows: bool = False,
    ) -> None:
        """Call `load` before anything else.

        epoch: number of the lease that this worker has.
        windows: whether utterances are also transcribed together.
        """
        self.segments = 0
        """Utterances that are stored; also the index of the next one."""
        self.end = 0
        """End of the last utterance; when `finished`, of the audio."""
        self.continues = False
        """Whether speech goes on at `end`."""
        self.finished = False
        """Whether all audio is segmented."""
        self.read_after = 0
        """Sequence in AUDIO behind which to read for the next utterance."""
        self.previous_seq = 0
        """Sequence in SPEECH of the last utterance; 0: there is none."""
        self._bus = bus
        self._job = job
        self._source: Source = source
        self._generation = generation
        self.options = SpeechOptions(**options.model_dump())
        self._epoch = epoch
        self._windows = windows
        self._window: Window | None = None  # of the last utterance
        self._subject_seq = 0  # of the last message on its subject, which may be another program's garbage

    async def load(self) -> None:
        """Read the last utterance from the bus."""
        last, self.previous_seq, self._subject_seq = await last_utterance(
            self._bus, self._job, self._source, self._generation
        )
        if last is not None:
            self._window = last.window
            self.segments = last.index if last.last else last.index + 1
            self.end, self.continues, self.finished = last.end, last.continues, last.last
            self.read_after = last.audio_seq - 1

    def resume(self, plan: Plan) -> Segmentation:
        """A segmentation that goes on from here."""
        return Segmentation(
            self._job,
            partial(webrtc_detector, plan.aggressiveness),
            plan.parameters,
            start=self.end,
            continues=self.continues,
            index=self.segments,
        )

    async def append(self, segment: Segment, audio_seq: int) -> None:
        """Store the next utterance; a successor reads on from message `audio_seq`. Raises Fenced."""
        await self._append(
            Utterance(
                job=self._job,
                generation=self._generation,
                source=self._source,
                index=self.segments,
                start=segment.start,
                end=segment.end,
                pcm=segment.pcm,
                lead=segment.lead,
                continues=segment.continues,
                audio_seq=audio_seq,
                epoch=self._epoch,
                options=self.options,
            )
        )
        self.segments += 1
        self.end, self.continues = segment.end, segment.continues

    async def finish(self, end: int) -> None:
        """Store that all audio is segmented, up to sample `end`. Raises Fenced."""
        await self._append(
            Utterance(
                job=self._job,
                generation=self._generation,
                source=self._source,
                index=self.segments,
                start=end,
                end=end,
                last=True,
                epoch=self._epoch,
            )
        )
        self.end, self.finished = end, True

    async def _append(self, utterance: Utterance) -> None:
        while True:
            window = None
            if self._windows and not utterance.last:
                pause, length = utterance.start - self.end, utterance.end - utterance.start
                window = next_window(self._window, pause, len(utterance.lead) // WIDTH, self.segments, length)
            chained = utterance.model_copy(update={"previous_seq": self.previous_seq, "window": window})
            try:
                self.previous_seq = self._subject_seq = await self._bus.append(chained, self._subject_seq)
                self._window = window
                return
            except Conflict as conflict:
                found = conflict.found
            if found is None:  # our last utterance has outlived its retention
                self.previous_seq, self._subject_seq, self._window = 0, 0, None
            elif decode_utterance(found) is None:
                self._subject_seq = found.seq  # garbage, which readers of speech dead-letter
            else:
                raise Fenced(f"{found.subject} has another writer")
