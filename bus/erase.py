"""Removes everything that the streams have of a job, even while workers are busy with it.

Workers on an erased job would block forever, waiting for messages that are gone. So three marks without content are
left for them: the audio has ended, there are no utterances, the job is completed. The workers then end by themselves,
and find out that the job is erased when they write its record. What they store meanwhile is removed later, when the job
is swept.
"""

from __future__ import annotations

from bus.claim import is_end
from bus.streams import Bus, Conflict
from contract import Closed, Completed, Dead, Message, Opened, Redrive, Redriven, Replay, Segmented
from contract.audio import AudioFrame, audio_subject, encode_audio

_END = encode_audio(AudioFrame(0, b"", last=True))
_MARKS = {"SPEECH": 0, "AUDIO": 1, "EVENTS": 2}
_LATE: tuple[type[Message], ...] = (Dead, Redrive, Redriven, Replay)
"""If a finished job has one of these, workers may be busy with it."""


class StillLive(Exception):
    """The job's audio has not ended: a client may be sending it."""


async def has_messages(bus: Bus, job: str) -> bool:
    """Whether the streams have anything of a job."""
    return any([await bus.last_raw(subject) for subject in _subjects(job).values()])


async def settle(bus: Bus, job: str, *, finished: bool) -> bool:
    """Make sure that a job gets no more audio; returns whether it is certain that no worker is busy with it.

    finished: whether the store says so; it keeps jobs longer than the streams do. Raises StillLive.
    """
    if finished or await bus.last_raw(Completed.pattern(job)):
        return not any([await bus.last_raw(kind.pattern(job)) for kind in _LATE])
    if await bus.last_raw(Closed.pattern(job)):
        return False
    if await bus.last_raw(Opened.pattern(job)):
        raise StillLive(job)
    # The job was never opened. With an end mark it never will be: claiming its audio then fails.
    try:
        await bus.store(audio_subject(job), _END, after=0)
    except Conflict as conflict:
        if conflict.found is None or not is_end(conflict.found):
            raise StillLive(job) from conflict
    return False


async def erase(bus: Bus, job: str, *, mark: bool) -> bool:
    """Remove a job from all streams; returns whether there was anything but marks. Harmless to repeat.

    mark: leave marks for workers that are still busy with the job.
    """
    removed = {stream: await bus.purge(stream, subject) for stream, subject in _subjects(job).items()}
    if mark:
        await bus.store(audio_subject(job), _END)
        await bus.replace(Segmented(job=job, segments=0, samples=0))
        await bus.replace(Completed(job=job, segments=0, samples=0))
    return any(removed.values()) and removed != _MARKS


def _subjects(job: str) -> dict[str, str]:
    """A job's subjects in each stream, inputs before the outputs that are made of them."""
    return {"AUDIO": audio_subject(job), "SPEECH": f"speech.{job}.>", "EVENTS": f"events.{job}.>"}
