"""Whether a connection can have a job, and where it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bus.claim import AudioEnded, Claim, claim_audio
from contract import RATE, Opened
from edge.capture.session import Reply
from edge.services import Services
from store.job import Job
from store.jobs import StoreError


class Refusal(Exception):
    """The connection cannot have the job. `code` is for programs, the text for people."""

    def __init__(self, code: str, message: str, close: int, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.close = close
        self.retry_after = retry_after

    def reply(self) -> Reply:
        """The message that tells the client."""
        reply: Reply = {"type": "error", "code": self.code, "message": str(self)}
        return reply if self.retry_after is None else reply | {"retry_after": self.retry_after}


class Left(Exception):
    """The client is gone: it may have another connection by now, from which nothing must be taken."""


async def admit(services: Services, job_id: str, sample: str | None, gone: Callable[[], bool]) -> tuple[Job, Claim]:
    """The job, and where its audio goes on; raises Refusal, or Left where the client is `gone` before it has the job.

    sample: what the client says of the first sample that it still has, at its own rate.
    """
    retry_after = services.settings.retry_after
    has = _sample(sample)
    try:
        job = await services.store.get(job_id)
        if job is None:
            raise Refusal("unknown_job", f"no job {job_id!r}: create one first", 4004)
        if trouble := services.trouble(resuming=job.state == "streaming"):
            raise Refusal("unavailable", trouble, 1013, retry_after)
        async with asyncio.timeout(services.settings.answer_within):
            if await services.bus.create(Opened(job=job.job, options=job.options)):
                services.advance(job.job, "streaming")

            def accept(start: int) -> None:
                if gone():
                    raise Left
                expected = start * job.options.sample_rate // RATE
                if has > expected:
                    gap = f"sample {expected} is expected next: audio from {has} on would leave a gap"
                    raise Refusal("gap", gap, 1008)

            claim = await claim_audio(services.bus, job.job, job.options.source, accept=accept)
    except AudioEnded as exc:
        raise Refusal("job_closed", "this job has been closed already: create another", 4009) from exc
    except StoreError as exc:
        raise Refusal("unavailable", str(exc), 1013, retry_after) from exc
    except TimeoutError as exc:
        reason = services.bus.connection.trouble or "the bus does not answer"
        raise Refusal("unavailable", reason, 1013, retry_after) from exc
    return job, claim


def _sample(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit():
        raise Refusal("bad_sample", f"sample={text!r}: a sample index is accepted, 0 or more", 1008)
    return int(text)
