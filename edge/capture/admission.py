"""Whether a connection gets a job, and where its audio goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bus.claim import AudioEnded, Claim, claim_audio
from contract import RATE, Opened
from contract.socket import Close, SocketError
from edge.capture.session import excerpt
from edge.services import Services
from store.job import Job
from store.jobs import StoreError

_SAMPLE_DIGITS = 18


class Refusal(Exception):
    """The connection does not get the job. `code` is for programs, the text for people."""

    def __init__(self, code: str, message: str, close: Close, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.close = close
        self.retry_after = retry_after

    def reply(self) -> SocketError:
        """What the client gets."""
        return SocketError(code=self.code, message=str(self), retry_after=self.retry_after)


class ClientGone(Exception):
    """The client has disconnected. It may have another connection by now, which must keep the job."""


async def admit(
    services: Services, job_id: str, sample: str | None, take_place: Callable[[], None], gone: Callable[[], bool]
) -> tuple[Job, Claim]:
    """Take a place and claim the job's audio; raises Refusal, or ClientGone if `gone` says so before it is claimed.

    sample: what the client says is the first sample that it still has, at its own rate.
    """
    retry_after = services.settings.retry_after
    first_kept = _sample(sample)
    try:
        job = await services.store.get(job_id)
        if job is None:
            raise Refusal("unknown_job", f"no job {excerpt(repr(job_id))}: create one first", Close.NO_SUCH_JOB)
        if trouble := services.trouble(resuming=job.state == "streaming"):
            raise Refusal("unavailable", trouble, Close.TRY_AGAIN, retry_after)
        take_place()  # before anything is awaited: others ask for a place meanwhile
        async with asyncio.timeout(services.settings.answer_within):
            if await services.bus.create(Opened(job=job.job, options=job.options)) or job.state == "created":
                services.advance(job.job, "streaming")

            def accept(start: int) -> None:
                if gone():
                    raise ClientGone
                expected = start * job.options.sample_rate // RATE
                if first_kept > expected:
                    gap = f"sample {expected} is expected next: audio from {first_kept} on would leave a gap"
                    raise Refusal("gap", gap, Close.POLICY)

            claim = await claim_audio(services.bus, job.job, job.options.source, accept=accept)
    except AudioEnded as exc:
        reason = "this job has been closed already: create another"
        raise Refusal("job_closed", reason, Close.JOB_CLOSED) from exc
    except StoreError as exc:
        raise Refusal("unavailable", str(exc), Close.TRY_AGAIN, retry_after) from exc
    except TimeoutError as exc:
        raise Refusal("unavailable", services.silence, Close.TRY_AGAIN, retry_after) from exc
    return job, claim


def _sample(text: str | None) -> int:
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > _SAMPLE_DIGITS:
        says = f"sample={excerpt(repr(text))}: a sample index is accepted, 0 or more"
        raise Refusal("bad_sample", says, Close.POLICY)
    return int(text)
