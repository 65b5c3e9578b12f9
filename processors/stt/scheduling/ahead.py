"""Finals that are decoded ahead, in the pause that ends their utterance.

The sound of an utterance is complete some time before it is certain that nobody goes on speaking. An engine that has
nothing more urgent to do decodes it in that time, and the final takes the result. It takes it only if its sound and its
options are exactly the same, so that a transcript never depends on whether it was decoded ahead.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from contract import SpeechOptions
from processors.stt.core import DecodeResult
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.scheduler import Scheduler, Urgency
from processors.stt.sound import Sound

log = structlog.get_logger()

_MAX_KEPT = 64
"""Results that are kept, each with its sound of up to 30 s, 1 MB. Other workers take most finals of some of them."""

Decoding = asyncio.Task[DecodeResult | None]
"""Its result is None if it failed."""


@dataclass(frozen=True, eq=False)
class _Kept:
    index: int
    end: int
    sound: Sound
    options: SpeechOptions
    urgency: Urgency
    decoding: Decoding

    def is_of(self, sound: Sound, options: SpeechOptions) -> bool:
        return self.sound == sound and self.options == options


class Ahead:
    """What is decoded ahead, at most one utterance of each job. `create_task` starts the task of each decoding."""

    def __init__(
        self, scheduler: Scheduler, create_task: Callable[[Coroutine[Any, Any, DecodeResult | None]], Decoding]
    ) -> None:
        self._scheduler = scheduler
        self._create_task = create_task
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def decodes(self, options: SpeechOptions) -> bool:
        """Whether finals with these options use this model."""
        return options.model in (None, self._scheduler.engine.model.name)

    def start(self, job: str, index: int, end: int, sound: Sound, options: SpeechOptions) -> Decoding:
        """Decode what will be utterance `index` of a job if it ends at sample `end`, unless it is decoded already."""
        kept = self._kept.get(job)
        if kept is not None and kept.index == index and kept.is_of(sound, options):
            return kept.decoding
        self._drop(job)
        urgency = Urgency(Priority.PARTIAL)
        decoding = self._create_task(self._decode(job, sound, options, urgency))
        self._kept[job] = _Kept(index, end, sound, options, urgency, decoding)
        if len(self._kept) > _MAX_KEPT:
            self._drop(next(iter(self._kept)))
        return decoding

    async def take(self, job: str, index: int, sound: Sound, options: SpeechOptions) -> DecodeResult | None:
        """The result for the final of utterance `index`, as soon as it is there; None: it has to be decoded.

        It is then forgotten, also if it is another sound because somebody went on speaking.
        """
        kept = self._kept.get(job)
        if kept is None or kept.index != index:
            return None
        if not kept.is_of(sound, options):
            self._drop(job)
            return None
        del self._kept[job]
        kept.urgency.raise_to(Priority.LIVE)
        try:
            await asyncio.wait([kept.decoding])
        finally:
            kept.decoding.cancel()  # without effect if it is done
        return None if kept.decoding.cancelled() else kept.decoding.result()

    def make_way(self, job: str, end: int) -> None:
        """Forget what was decoded for this job up to another sample than this one."""
        kept = self._kept.get(job)
        if kept is not None and kept.end != end:
            self._drop(job)

    def close_segment(self, job: str, index: int) -> None:
        """Forget what was decoded for segments before this one; its own final is still to come."""
        kept = self._kept.get(job)
        if kept is not None and kept.index < index:
            self._drop(job)

    def _drop(self, job: str) -> None:
        kept = self._kept.pop(job, None)
        if kept is not None:
            kept.decoding.cancel()

    async def _decode(self, job: str, sound: Sound, options: SpeechOptions, urgency: Urgency) -> DecodeResult | None:
        try:
            return await self._scheduler.transcribe(sound.pcm, options, urgency, parts=sound.parts)
        except Exception as exc:  # whatever the engine raises; the final is decoded again and will report it
            log.warning("not decoded ahead", job=job, error=repr(exc), exc_info=True)
            return None
