"""Where speech starts and stops: stored audio messages in, segments out.

`FrameClassifier` says which 30 ms frames are voiced, `Segmenter` decides where speech starts and stops, `Segmentation`
reassembles the messages of one job and applies the cut requests among them. Rules, each of which has a test:

1. Time is a sample index and decisions are made per frame, so the size of the chunks cannot change the result.
2. Which frames are voiced is the same for every worker, wherever it starts reading. A voice detector adapts to its
   input, so its answers depend on where it started. Therefore frames lie at multiples of `FRAME` samples, and each
   detector classifies one fixed span of `SPAN` frames, warmed up with exactly the `WARM_UP` frames before it. At the
   start of a stretch of audio there is nothing to warm up with: the first detector is fed its first frames twice, and
   classifies until the first warmed-up detector takes its place.
3. After each segment all other state starts anew at the segment's end. The following segments are therefore a function
   of `end` and `continues` of the last one and of the audio from `resume_from(end)` on: a worker that takes over there
   decides the same.
4. A run of voiced frames long enough to open a segment lies wholly inside segments, wherever a long one is cut.
5. A segment is never longer than `max_ms`. It is cut where it is quietest, and its successor starts open; a successor
   without further speech is dropped.
6. A cut request in the audio ends the open segment there, unless there was speech after the request was made; speech
   that goes on opens another segment. Met again after a take-over, the request changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import structlog

from contract import LONGEST_LEAD, RATE, WIDTH, ContractError, Dead, dead_letter
from contract.audio import Gap, Reassembler, audio_subject, decode_audio

log = structlog.get_logger()

FRAME_MS = 30
FRAME = RATE * FRAME_MS // 1000
"""Samples in a frame, the unit of decision."""

SPAN = 640
"""Frames that one detector classifies, 19 s: a worker that takes a job over rereads at most this much audio."""

WARM_UP = 50
"""Frames that a detector is fed before its span; webrtcvad's noise estimate needs about that many."""

COLD_START = 20
"""Frames that a detector is fed twice where no audio precedes them, because a new webrtcvad takes the first faint
noise for speech. No segment ends later because of this wait: it is as long as the default hangover."""

_FRAME_BYTES = FRAME * WIDTH

SEARCH_MS = 5_000
"""How much of the end of a segment that became too long is searched for the quietest place."""

_TRIM_FRAMES = 100  # classified frames are dropped so many at a time

SMOOTHING = 2
"""Frames over which loudness is averaged there. Of 1,000 cuts in noisy speech with 60 to 350 ms between sentences, 28
miss the gap with two frames, 188 with one (a plosive is as quiet as a gap) and 65 with three (short gaps are missed).
"""


class Detector(Protocol):
    """A voice activity detector for one stream of audio."""

    def __call__(self, frame: bytes, /) -> bool:
        """Whether the next frame, `FRAME` samples, is voiced; earlier frames may influence the answer."""


DetectorFactory = Callable[[], Detector]


def first_frame(sample: int) -> int:
    """Number of the first frame that starts at a sample or after it."""
    return -(-sample // FRAME)


def warm_up_start(sample: int) -> int:
    """The latest sample to start a classifier at, so that it classifies frames from `sample` on as all others do."""
    return max(0, (sample // FRAME // SPAN * SPAN - WARM_UP) * FRAME)


class FrameClassifier:
    """Classifies one stretch of mono s16le audio at 16 kHz that has no gap and starts at sample `origin`."""

    def __init__(self, new_detector: DetectorFactory, origin: int) -> None:
        self._new_detector = new_detector
        self._detector = new_detector()
        self._warming: Detector | None = None  # the detector of the next span, while it is warmed up
        self._next = first_frame(origin)
        self._pcm = b""  # of frames that are not classified yet
        self._lead = (self._next * FRAME - origin) * WIDTH  # bytes before the first of them
        self._cold = True

    @property
    def cold(self) -> bool:
        """Whether there was too little audio so far to classify any frame."""
        return self._cold

    def feed(self, pcm: bytes) -> list[bool]:
        """Take the next samples; returns for each frame that can now be classified whether it is voiced."""
        self._pcm += pcm
        if self._cold and len(self._pcm) < self._lead + COLD_START * _FRAME_BYTES:
            return []
        return self.finish()

    def finish(self) -> list[bool]:
        """Classify what there is, even if it is too little for a cold start."""
        if self._cold:
            self._cold = False
            self._pcm = self._pcm[self._lead :]
            for frame in _split_frames(self._pcm)[:COLD_START]:
                self._detector(frame)
        frames = _split_frames(self._pcm)
        self._pcm = self._pcm[len(frames) * _FRAME_BYTES :]
        place = self._next % SPAN
        self._next += len(frames)
        if self._warming is None and place + len(frames) <= SPAN - WARM_UP:
            detector = self._detector
            return [detector(frame) for frame in frames]
        return [self._classify(frame, at % SPAN) for at, frame in enumerate(frames, place)]

    def guess(self) -> list[bool]:
        """Preliminary answers for the frames of a cold start; the final ones are still to come."""
        other = FrameClassifier(self._new_detector, self._next * FRAME)
        return other.feed(self._pcm[self._lead :]) or other.finish()

    def _classify(self, frame: bytes, place: int) -> bool:
        """Classify the frame at a place in its span, and warm the next detector up at the end of the span."""
        if place == SPAN - WARM_UP:
            self._warming = self._new_detector()
        if self._warming is not None:
            if place == 0:
                self._detector, self._warming = self._warming, None
            else:
                self._warming(frame)
        return self._detector(frame)


def _split_frames(pcm: bytes) -> list[bytes]:
    return [pcm[end - _FRAME_BYTES : end] for end in range(_FRAME_BYTES, len(pcm) + 1, _FRAME_BYTES)]


@dataclass(frozen=True, slots=True)
class Segment:
    """Speech from sample `start` to before sample `end`; `continues`: cut because it was too long."""

    start: int
    end: int
    pcm: bytes
    continues: bool = False
    lead: bytes = b""
    """The sound before `start`, at most LONGEST_LEAD samples, back to the segment before it or to a gap."""


class OpenSegment(NamedTuple):
    """A segment that has not ended and has speech in it; sample indexes."""

    start: int
    voiced_start: int
    """Start of the first voiced frame."""
    voiced_end: int
    """End of the last voiced frame."""
    end: int
    """The next sample that is expected."""
    settled: int = 0
    """Where the segment ends if nobody goes on speaking, once all sound up to there is known; before that 0."""


class _CutRequest(NamedTuple):
    place: int
    """The sample before which the request lies in the audio."""
    at: int
    """The request is void if a voiced frame ended after this sample."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How speech is cut, in milliseconds: rounded to the nearest frame, `max_ms` down to a whole frame.

    Raises ValueError for values with which no segment could be built.
    """

    onset_ms: int = 90
    """Voiced time that opens a segment."""
    padding_ms: int = 300
    """Audio kept before the first and after the last voiced frame."""
    hangover_ms: int = 600
    """Unvoiced time that ends a segment."""
    max_ms: int = 28_000
    """Longest segment."""

    def __post_init__(self) -> None:
        for name, least in (("onset_ms", FRAME_MS), ("padding_ms", 0), ("hangover_ms", FRAME_MS)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: at least {least} is accepted")
        # A cut leaves at least half of `max_ms`, and the speech that opened the segment has to be in that half.
        least = 2 * max(_frames(self.onset_ms) + _frames(self.padding_ms), SMOOTHING) * FRAME_MS
        if self.max_ms < least:
            raise ValueError(f"max_ms is {self.max_ms}: at least {least} is accepted, twice onset_ms + padding_ms")

    def resume_from(self, end: int) -> int:
        """First sample that is needed to go on after a segment that ended before sample `end`."""
        return warm_up_start(max(0, end - _frames(self.onset_ms) * FRAME))  # voiced frames may reach across a cut


def _frames(ms: int) -> int:
    return (ms + FRAME_MS // 2) // FRAME_MS


class Segmenter:
    """Cuts one stream of mono s16le audio at 16 kHz into segments of speech.

    To go on where another one stopped: `start` and `continues` are `end` and `continues` of the last segment, and
    `before` is the audio before `start`: from `parameters.resume_from(start)` or earlier, or all that there is without
    a gap.
    """

    def __init__(
        self,
        new_detector: DetectorFactory,
        parameters: Parameters,
        *,
        start: int = 0,
        continues: bool = False,
        before: bytes = b"",
    ) -> None:
        self.position = start
        """The next sample that is expected."""
        self._new_detector = new_detector
        self._onset = _frames(parameters.onset_ms)
        self._padding = _frames(parameters.padding_ms) * FRAME
        self._hangover = _frames(parameters.hangover_ms) * FRAME
        self._max = parameters.max_ms // FRAME_MS * FRAME
        self._requests: deque[_CutRequest] = deque()  # those not reached yet, because no frame there is decided
        self._start_stretch(start - len(_whole(before)) // WIDTH, start)
        self._voiced += self._classifier.feed(before)
        self._reset(start, continues)

    @property
    def floor(self) -> int:
        """First sample that the next segment may contain."""
        if self._open:
            return self._start
        return max(self._start, min(self._at, self.position) - self._run * FRAME - self._padding)

    @property
    def is_open(self) -> bool:
        """Whether a segment is open."""
        return self._open

    @property
    def open_segment(self) -> OpenSegment | None:
        """The open segment, once there is speech in it."""
        if not self._open or self._voiced_start is None:
            return None
        ending = self._voiced_end + self._padding
        settled = ending if self._voiced_end < self._at and ending <= self._at else 0
        return OpenSegment(self._start, self._voiced_start, self._voiced_end, self.position, settled)

    def pcm(self, segment: OpenSegment) -> bytes:
        """The samples of the open segment, a copy."""
        return self._pcm(segment.start, segment.end)

    def lead(self, start: int) -> bytes:
        """The sound before a segment that starts here; see `Segment`."""
        return self._pcm(max(self._origin, start - LONGEST_LEAD), start)

    def feed(self, pcm: bytes) -> list[Segment]:
        """Take the next samples, any number; returns the segments that ended. Raises ValueError for half a sample."""
        self._chunks.append(_whole(pcm))
        self.position += len(pcm) // WIDTH
        self._voiced += self._classifier.feed(pcm)
        segments = self._decide()
        self._trim()
        return segments

    def cut(self, at: int) -> list[Segment]:
        """End the open segment here, unless a voiced frame ended after sample `at`; returns the segments that ended.

        `at`: the position when the cut was requested. Raises ValueError for a sample that is still to come.
        """
        if at > self.position:
            raise ValueError(f"cannot cut at sample {at}: only audio before {self.position} is known")
        if self._requests and self._requests[-1].place == self.position:  # the latest of several in one place decides
            at = max(at, self._requests.pop().at)
        self._requests.append(_CutRequest(self.position, at))
        segments = self._cut_cold() if self._classifier.cold else self._decide()
        self._trim()
        return segments

    def finish(self) -> list[Segment]:
        """End of the stream: returns what is still open; an incomplete last frame is as voiced as the one before it."""
        self._voiced += self._classifier.finish()
        segments = self._decide()
        while self._open:
            segments += self._close(self.position)
            segments += self._decide()  # frames after the end of a segment are always decided again
        return segments

    def skip(self, to: int) -> list[Segment]:
        """The audio up to sample `to` will never come: return what is open and start anew there.

        Raises ValueError if audio from `to` on is known already.
        """
        if to < self.position:
            raise ValueError(f"cannot skip to sample {to}: audio before {self.position} is known already")
        if to == self.position:
            return []
        segments = self.finish()
        self._start_stretch(to, to)
        self._reset(to, continues=False)
        return segments

    def _start_stretch(self, origin: int, start: int) -> None:
        """A stretch of audio without a gap starts at sample `origin`; segments may start at `start`."""
        self._classifier = FrameClassifier(self._new_detector, origin)
        self._voiced: list[bool] = []  # the classified frames, from number `_first` on
        self._first = first_frame(origin)
        self._chunks: deque[bytes] = deque()  # as received: to join them each time would copy them often
        self._origin = self.position = start  # where they start and end

    def _reset(self, at: int, continues: bool) -> None:
        """Start anew at sample `at`."""
        keep = max(at, self._origin)
        self._chunks, self._origin = deque([self._pcm(keep, self.position)]), keep
        self._at = first_frame(at) * FRAME  # the frame to decide next
        self._start = at  # of the open segment; otherwise the earliest start of the next one
        self._open = self._continues = continues
        self._voiced_start: int | None = None  # of the first run of voiced frames that is long enough for an onset
        self._voiced_end = at  # end of the last voiced frame
        self._run = 0  # length of the current run of voiced frames

    def _decide(self) -> list[Segment]:
        """Decide every frame that is classified."""
        segments: list[Segment] = []
        while True:
            if self._requests and self._requests[0].place < self._at + FRAME:  # it lies before the end of this frame
                request = self._requests.popleft()
                if self._open and self._voiced_end <= request.at:
                    segments += self._close(request.place)
            elif (at := self._at // FRAME - self._first) < len(self._voiced):
                if ended := self._decide_frame(self._voiced[at]):
                    segments += ended
            else:
                return segments

    def _decide_frame(self, voiced: bool) -> list[Segment] | None:
        self._at = end = self._at + FRAME
        if not voiced:
            self._run = 0
        else:
            self._run += 1
            self._voiced_end = end
            if self._voiced_start is None:
                self._detect_onset()
        if self._open:
            if end - self._voiced_end >= self._hangover:
                return self._close(end)
            if end + FRAME - self._start > self._max:
                return self._end(self._quietest(), continues=True)
        return None

    def _cut_cold(self) -> list[Segment]:
        """A cut during the cold start of a classifier: decide by its guess, then start anew.

        The frames after the cut are classified later, and the request is then met again.
        """
        at, continues, requests = self._start, self._continues, list(self._requests)
        self._voiced = self._classifier.guess()
        segments = self._decide()
        self._voiced = []
        if segments:
            at, continues = segments[-1].end, segments[-1].continues
        self._reset(at, continues)
        self._requests = deque(request for request in requests if request.place >= at)
        return segments

    def _detect_onset(self) -> None:
        """Open a segment if the last frame makes the run of voiced frames long enough."""
        run, at = self._run, self._at // FRAME - self._first
        if self._continues and self._at - run * FRAME == self._start:  # the run may reach across the cut
            while run < min(self._onset, at) and self._voiced[at - run - 1]:
                run += 1
        if run >= self._onset:
            self._start, self._open, self._voiced_start = self.floor, True, self._at - run * FRAME

    def _close(self, limit: int) -> list[Segment]:
        silent = self._voiced_end < self._at
        return self._end(min(self._voiced_end + self._padding, limit) if silent else limit, continues=False)

    def _end(self, end: int, continues: bool) -> list[Segment]:
        """The open segment ends at `end`; the frames after that are decided again."""
        if self._voiced_start is None:
            self._open = False
            return []
        if self._voiced_start >= end:  # only the silence between a cut and the next speech
            self._start = end
            return []
        segment = Segment(self._start, end, self._pcm(self._start, end), continues, self.lead(self._start))
        self._reset(end, continues)
        return [segment]

    def _quietest(self) -> int:
        """End of the quietest frame, the latest of equals, in the last part of the open segment."""
        frames = min(SEARCH_MS // FRAME_MS, self._max // FRAME // 2)
        pcm = np.frombuffer(self._pcm(self._at - frames * FRAME, self._at), "<i2").astype(np.int64)
        energy = np.square(pcm).reshape(frames, FRAME).sum(axis=1)
        smooth = np.convolve(energy, np.ones(SMOOTHING, np.int64), "valid")
        after = int(np.argmin(smooth[::-1])) + SMOOTHING // 2  # frames that follow the quietest
        return self._at - after * FRAME

    def _pcm(self, start: int, end: int) -> bytes:
        pcm = b"".join(self._chunks)
        if len(self._chunks) > 1:
            self._chunks = deque([pcm])
        return pcm[(start - self._origin) * WIDTH : (end - self._origin) * WIDTH]

    def _trim(self) -> None:
        """Drop what neither a later segment nor its lead can contain."""
        floor = self.floor
        while self._chunks and (after := self._origin + len(self._chunks[0]) // WIDTH) <= floor - LONGEST_LEAD:
            self._chunks.popleft()
            self._origin = after
        spare = floor // FRAME - self._onset - self._first
        if spare > _TRIM_FRAMES:
            del self._voiced[:spare]
            self._first += spare


def _whole(pcm: bytes) -> bytes:
    if len(pcm) % WIDTH:
        raise ValueError(f"{len(pcm)} bytes of audio: whole samples of {WIDTH} bytes are accepted")
    return pcm


class Output(NamedTuple):
    """What has to be stored before the next step."""

    segments: list[tuple[Segment, int]]
    """Segments that ended, each with the sequence of the audio message that a successor reads on from."""
    dead: list[Dead]
    """Dead letters about messages that are no audio frames."""
    done: bool
    """Whether this read is over: see `Segmentation.end_read`."""


class Segmentation:
    """Segments one generation of a job's audio.

    It starts behind the last utterance, which ended before sample `start` and has `continues`; `index` is the number of
    the next one. Audio from before `start` is read first, and only warms the classifier up.
    """

    def __init__(
        self,
        job: str,
        new_detector: DetectorFactory,
        parameters: Parameters,
        *,
        start: int = 0,
        continues: bool = False,
        index: int = 0,
    ) -> None:
        self.index = index
        """Number of the open segment, or of the next one."""
        self.segmenter: Segmenter | None = None
        """None while audio from before `start` is read."""
        self._job = job
        self._new_detector = new_detector
        self._parameters = parameters
        self._start, self._continues = start, continues
        self._before = bytearray()
        self._reassembler = Reassembler(start)
        self._forget_at = start + RATE

    @property
    def position(self) -> int:
        """The next sample that is expected."""
        return self._reassembler.expected

    @property
    def open_segment(self) -> OpenSegment | None:
        """The open segment, once there is speech in it."""
        return None if self.segmenter is None else self.segmenter.open_segment

    def step(self, stored: Sequence[tuple[int, bytes]]) -> Output | None:
        """Take the next stored messages, each with its sequence; None: there is nothing to store."""
        pcm: list[bytes] = []
        segments: list[Segment] = []
        dead: list[Dead] = []
        done = False
        for seq, data in stored:
            try:
                frame = decode_audio(data)
                pcm.append(self._reassembler.take(seq, frame))
            except ContractError as exc:
                dead.append(dead_letter("AUDIO", seq, audio_subject(self._job), str(exc)))
                continue
            except Gap:
                done = True
                break
            if frame.cut and self._reassembler.cuts(frame):
                segments += self._feed(b"".join(pcm))
                segments += [] if self.segmenter is None else self.segmenter.cut(frame.start)
                pcm.clear()
            if frame.last:
                done = True
                break
        segments += self._feed(b"".join(pcm))
        output = self._output(segments, dead, done=done) if segments or dead or done else None
        if self._reassembler.expected >= self._forget_at:
            self._forget()
        return output

    def end_read(self) -> tuple[Output, int | None]:
        """End a read, because a step was done or nothing more is stored.

        Returns the segments that ended, and the sequence behind which to read on: some audio is missing, and has been
        skipped. None: the audio is over.
        """
        gap = self._reassembler.gap
        if gap is None:
            return self._output([] if self.segmenter is None else self.segmenter.finish()), None
        log.error("audio is missing", job=self._job, expected=self.position, goes_on_at=gap.sample)
        self._reassembler.skip(gap)
        return self._output(self._skip(gap.sample)), gap.seq - 1

    def _output(self, segments: list[Segment], dead: Sequence[Dead] = (), *, done: bool = True) -> Output:
        self.index += len(segments)
        return Output([(segment, self._resume_seq(segment.end)) for segment in segments], list(dead), done)

    def _resume_seq(self, end: int) -> int:
        return self._reassembler.sequence_of(self._parameters.resume_from(end))

    def _forget(self) -> None:
        """Drop the sequences of audio that no successor has to read."""
        self._forget_at = self._reassembler.expected + RATE
        if self.segmenter is not None:
            self._reassembler.forget(self._parameters.resume_from(self.segmenter.floor))

    def _feed(self, pcm: bytes) -> list[Segment]:
        if self.segmenter is None:
            self._before += pcm
            over = (self._reassembler.expected - self._start) * WIDTH
            if over < 0:
                return []
            split = len(self._before) - over
            before, pcm = bytes(self._before[:split]), bytes(self._before[split:])
            self.segmenter = self._new_segmenter(before)
            self._before.clear()
        return self.segmenter.feed(pcm)

    def _skip(self, to: int) -> list[Segment]:
        if self.segmenter is not None:
            return self.segmenter.skip(to)
        self._before.clear()
        if to >= self._start:
            self._start, self._continues = to, False
            self.segmenter = self._new_segmenter(b"")
        return []

    def _new_segmenter(self, before: bytes) -> Segmenter:
        return Segmenter(
            self._new_detector, self._parameters, start=self._start, continues=self._continues, before=before
        )
