"""Removing all that the streams have of a job, also where others are still at work on it.

Who still works on an erased job would wait for good for what is gone. So three marks without content are left for them:
its audio has ended, it has no utterances, it is completed. Each of them then ends by itself, and finds that the job is
erased when it comes to write the record. What they write meanwhile is removed when the job is swept, later and again.
"""

from __future__ import annotations

from bus.streams import Bus, Conflict, Raw
from contract import Closed, Completed, Dead, Message, Opened, Redrive, Redriven, Replay, Segmented
from contract.audio import AudioFrame, audio_subject, encode_audio, read_audio

_END = encode_audio(AudioFrame(0, b"", last=True))
_MARKS = {"SPEECH": 0, "AUDIO": 1, "EVENTS": 2}
_LATE: tuple[type[Message], ...] = (Dead, Redrive, Redriven, Replay)
"""A finished job that has one of these may have somebody at work on it."""


class StillLive(Exception):
    """The job's audio has not ended: a client may be sending it."""


async def has_messages(bus: Bus, job: str) -> bool:
    """Whether the streams have anything of a job."""
    return any([await bus.last_raw(subject) for subject in _subjects(job).values()])


async def settle(bus: Bus, job: str, *, finished: bool) -> bool:
    """Make sure that no audio of a job can come any more; returns whether nobody is at work on it. Raises StillLive.

    `finished`: whether the store says so, which keeps jobs longer than the streams do.
    """
    if finished or await bus.last_raw(Completed.pattern(job)):
        return not any([await bus.last_raw(kind.pattern(job)) for kind in _LATE])
    if await bus.last_raw(Closed.pattern(job)):
        return False
    if await bus.last_raw(Opened.pattern(job)):
        raise StillLive(job)
    # Nobody has opened it, and nobody can once its audio has an end: whoever claims it is told so.
    try:
        await bus.store(audio_subject(job), _END, after=0)
    except Conflict as conflict:
        if conflict.found is None or not _is_end(conflict.found):
            raise StillLive(job) from conflict
    return False


async def erase(bus: Bus, job: str, *, mark: bool) -> bool:
    """Remove a job from all streams; returns whether there was anything of it, marks aside.

    `mark`: leave the marks behind, for those who are still at work on it. Harmless to repeat.
    """
    removed = {stream: await bus.purge(stream, subject) for stream, subject in _subjects(job).items()}
    if mark:
        await bus.store(audio_subject(job), _END)
        await bus.replace(Segmented(job=job, segments=0, samples=0))
        await bus.replace(Completed(job=job, segments=0, samples=0))
    return any(removed.values()) and removed != _MARKS


def _subjects(job: str) -> dict[str, str]:
    """What there may be of a job in each stream. What would be made of it is removed before what is made."""
    return {"AUDIO": audio_subject(job), "SPEECH": f"speech.{job}.>", "EVENTS": f"events.{job}.>"}


def _is_end(raw: Raw) -> bool:
    frame = read_audio(raw.data)
    return frame is not None and frame.last
