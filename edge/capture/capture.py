"""One capture: audio of a connection onto the bus, from the first frame to the end of the job or of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal

import structlog

from audio import AudioError, Converter
from bus.claim import AudioEnded, Claim, Superseded, check_claim
from bus.supervisor import Supervisor
from contract import RATE, Closed, seconds
from contract.socket import Close, SocketError
from edge.capture.admission import ClientGone, Refusal, admit
from edge.capture.delivery import Delivery, end_connection
from edge.capture.ownership import JobOwner
from edge.capture.receive_queue import Connection, Incoming, Pending, ReceiveQueue
from edge.capture.session import ProtocolError, Session, excerpt
from edge.services import Services
from store.job import Job

log = structlog.get_logger()

_STOOD_STILL = 5.0
"""A tick this late means that the process or its machine was suspended: others may have ended the job meanwhile."""

_CLOSEST_CUTS = RATE // 2
"""Samples between two commands finalize: each makes an utterance, which costs the speech workers a whole window."""

Ending = Literal["stop", "disconnect", "idle", "lost", "superseded", "ended"]
"""Why no more audio comes. stop: the client said so. disconnect: it left or broke the protocol. idle: it sent nothing.
lost: its connection broke. superseded: another connection has the job. ended: the job's audio has its end already."""

_GOODBYE = (Close.DONE, Close.GOING_AWAY)
_TAKEN_OVER = "taken_over", "a newer connection has this job", Close.TAKEN_OVER


async def serve(
    connection: Connection,
    queue: ReceiveQueue,
    services: Services,
    job_id: str,
    sample: str | None,
    *,
    unknown_job: Close = Close.NO_SUCH_JOB,
) -> None:
    """Serve a connection until its capture ends.

    sample: the first that the client says it still has. unknown_job: how the connection is closed if there is no job.
    """
    try:
        with services.owners.admission() as take_place, structlog.contextvars.bound_contextvars(job=job_id):
            job, claim = await admit(services, job_id, sample, take_place, lambda: queue.left_nothing)
            await Capture(connection, queue, services, job, claim).run()
    except Refusal as refusal:
        close = unknown_job if refusal.close is Close.NO_SUCH_JOB else refusal.close
        await end_connection(connection, refusal.reply(), close)
    except ClientGone:
        return
    except Exception as exc:  # noqa: BLE001 - whatever it is
        services.faults.report("capture failed", exc, job=excerpt(job_id))
        error = SocketError(code="internal", message="the server failed; what was acked is kept")
        await end_connection(connection, error, Close.INTERNAL)


class Capture:
    """One connection that has its job."""

    __slots__ = (
        "_active_at",
        "_bus",
        "_check",
        "_claim",
        "_claim_doubtful",
        "_clock",
        "_connection",
        "_converter",
        "_cut_at",
        "_delivery",
        "_ending",
        "_is_native",
        "_job",
        "_publisher",
        "_queue",
        "_services",
        "_session",
        "_tasks",
        "_ticked_at",
        "_track",
    )

    def __init__(self, connection: Connection, queue: ReceiveQueue, services: Services, job: Job, claim: Claim) -> None:
        assert services.publisher is not None  # noqa: S101 - an admitted job has one
        self._connection = connection
        self._queue = queue
        self._services = services
        self._bus = services.bus
        self._job = job.job
        self._claim = claim
        self._publisher = services.publisher
        self._session = Session(job.job, job.options, claim.start)
        self._converter = Converter(job.options.encoding, job.options.sample_rate)
        self._is_native = self._converter.passes
        self._track = services.publisher.track(job.job, claim)
        self._cut_at = claim.start - _CLOSEST_CUTS
        self._delivery = Delivery(connection, services.bus, self._session, self._track)
        self._tasks = Supervisor()
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._clock = asyncio.get_running_loop().time
        self._ticked_at = self._active_at = self._clock()
        self._claim_doubtful = False
        self._check: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the connection to its end. The job ends well whatever becomes of the connection.

        Raises what fails unexpectedly, also in a background task; the client may then come back.
        """
        log.info("capture begins", sample=self._claim.start)
        owner = JobOwner(
            self._job, self._claim, lambda: self._end("superseded"), partial(self._guard, self._delivery.on_live)
        )
        self._bus.connection.reconnected.add(self._doubt_claim)
        try:
            async with self._tasks:
                await self._run(owner)
        finally:
            self._bus.connection.reconnected.discard(self._doubt_claim)
            self._publisher.forget(self._track)

    async def _run(self, owner: JobOwner) -> None:
        events = self._tasks.start(self._delivery.send_events(self._session.welcome()))
        self._tasks.start(self._delivery.send_interim())
        try:
            self._queue.open(self._handle, self._tasks.start)
            coalesced = self._services.reads.reading(self._connection, self._session)
            with coalesced, self._services.ticker.calling(partial(self._guard, self._tick)):
                async with self._services.owners.owning(owner):
                    ending = await self._ending
                    log.info("audio ends", reason=ending)
                    await self._after(ending, events)
        finally:
            await self._queue.stop()

    def _doubt_claim(self) -> None:
        """The bus was away: nothing is acked before it is known that the job is still ours."""
        self._claim_doubtful = True

    def _guard(self, callback: Callable[..., None], *args: object) -> None:
        try:
            callback(*args)
        except Exception as exc:  # noqa: BLE001 - raised again by a task
            self._fail(exc)

    def _fail(self, exc: Exception) -> None:
        """End the capture with an exception that was raised outside of its tasks."""
        self._queue.discard()
        self._tasks.start(_raise(exc))

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)
            if ending != "stop":  # after which messages of the client are still checked and answered
                self._queue.discard()

    async def _after(self, ending: Ending, events: asyncio.Task[None]) -> None:
        if ending == "lost":
            ending = await self._wait_for_return()
        if ending == "superseded":
            await self._delivery.end(*_TAKEN_OVER)
        elif ending == "ended":
            reason = "the job was closed while this server was away"
            await self._delivery.end("job_closed", reason, Close.JOB_CLOSED)
        elif ending == "lost":
            # This edge is stopping. The client finds another one, or the segmenter closes the job.
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._track.drained()
        else:
            if ending == "idle":
                reason = f"no message for {self._services.settings.idle:g} s"
                await self._delivery.end("idle", reason, Close.IDLE)
            if await self._close(ending) and ending == "stop":
                gone = self._tasks.start(self._queue.disconnected.wait())
                await asyncio.wait([events, gone], return_when=asyncio.FIRST_COMPLETED)

    async def _wait_for_return(self) -> Ending:
        """The connection broke: give the client time to come back, to this edge or another."""
        self._ending = asyncio.get_running_loop().create_future()
        stopping = self._tasks.start(self._bus.stopping.wait())
        waits: set[asyncio.Future[Any]] = {self._ending, stopping}
        window = self._services.settings.resume_window
        await asyncio.wait(waits, timeout=window, return_when=asyncio.FIRST_COMPLETED)
        if self._ending.done():
            return self._ending.result()
        return "lost" if self._bus.stopping.is_set() else "disconnect"

    def _handle(self, message: Incoming) -> Pending | None:
        try:
            if isinstance(message, list):
                return self._publish(message)
            if isinstance(message, bytes):
                return self._publish([message])
            if isinstance(message, str):
                return self._obey(message)
            self._end("disconnect" if message.code in _GOODBYE else "lost")
        except ProtocolError as error:
            return self._object(error)
        except AudioError as exc:
            return self._object(ProtocolError("not_audio", str(exc), Close.POLICY))
        except Exception as exc:  # noqa: BLE001 - raised again by a task
            self._fail(exc)
        return None

    def _publish(self, messages: list[bytes]) -> Pending | None:
        """Publish audio that was read together; raises what is wrong with the first message."""
        track, good = self._track, messages
        admitted = self._session.check_audio(messages)
        if admitted < len(messages):
            good = messages[:admitted]
        pcm = good if self._is_native else self._convert(good)
        rest = track.publish(pcm)
        if rest or len(pcm) < len(messages):
            return self._publish_rest(rest, messages[len(pcm) :])
        # Nothing is read while this waits, and TCP makes the client wait too.
        return track.room() if track.full else None

    def _convert(self, messages: list[bytes]) -> list[bytes]:
        """The audio of the messages before one that cannot be converted; raises what is wrong with the first."""
        pcm: list[bytes] = []
        for message in messages:
            try:
                pcm.append(self._converter.push(message))
            except AudioError:
                if not pcm:
                    raise
                break
        return pcm

    async def _publish_rest(self, pcm: Sequence[bytes], messages: list[bytes]) -> None:
        """Publish what there was no room for, then handle messages of which the first is wrong."""
        await self._track.send(*pcm)
        if messages and (pending := self._handle(messages)) is not None:
            await pending

    def _obey(self, text: str) -> Pending | None:
        command = self._session.command(text)
        if command == "finalize":
            since = self._track.sent - self._cut_at
            if 0 < since < _CLOSEST_CUTS:
                least = seconds(_CLOSEST_CUTS)
                says = f"only {seconds(since):g} s of audio since the last finalize: {least:g} s or more are accepted"
                raise ProtocolError("finalize_too_soon", says)
            self._cut_at = self._track.sent
            # What the converter still holds is less than a frame, and belongs to what follows.
            return self._track.cut()
        if command == "stop":
            self._end("stop")
        return None

    def _object(self, error: ProtocolError) -> Pending:
        return self._delivery.send(error.reply()) if error.close is None else self._dismiss(error, error.close)

    async def _dismiss(self, error: ProtocolError, close: Close) -> None:
        self._queue.discard()
        await self._delivery.end(error.code, str(error), close)
        self._end("disconnect")

    async def _close(self, reason: Literal["stop", "disconnect", "idle"]) -> bool:
        """Store the rest of the audio and publish that it has ended. False: another connection has the job."""
        if left := self._converter.flush():
            await self._track.send(left)
        try:
            samples = await self._track.finish()
        except Superseded:
            await self._delivery.end(*_TAKEN_OVER)
            return False
        self._delivery.completed_at = self._clock()
        await self._bus.create(Closed(job=self._job, samples=samples, reason=reason))
        self._services.advance(self._job, "transcribing")
        log.info("capture closed", reason=reason, samples=samples)
        return True

    def _tick(self) -> None:
        """Twice a second: acks, and whether the claim is to be checked or the client is idle."""
        now, before = self._clock(), self._ticked_at
        self._ticked_at = now
        if (stood_still := now - before) > _STOOD_STILL:
            self._claim_doubtful = True
            self._active_at += stood_still  # nor could the client be heard
        if self._claim_doubtful:
            self._claim_doubtful = False
            if self._check is None:
                self._check = self._tasks.start(self._check_claim())
        self._session.trouble = self._services.unstored(self._track)
        self._delivery.tick(owned=self._check is None)
        if self._queue.active or self._queue.busy:
            self._queue.active, self._active_at = False, now
        elif now - self._active_at > self._services.settings.idle and not self._track.waiting:
            self._end("idle")

    async def _check_claim(self) -> None:
        """See that the job is still ours; meanwhile nothing is acked."""
        try:
            await check_claim(self._bus, self._job, self._claim)
        except AudioEnded:
            self._end("ended")
        except Superseded:
            self._end("superseded")
        else:
            self._check = None


async def _raise(exc: Exception) -> None:
    raise exc
