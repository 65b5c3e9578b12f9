"""The capture socket: moves bytes between a client, the bus and the session that decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, Literal

import structlog
from pydantic_core import to_json

from audio import AudioError, Converter
from bus.claim import AudioEnded, Claim, Superseded, check_claim
from contract import Closed, Completed, ContractError, Progress, read_event
from edge.capture.admission import Left, Refusal, admit
from edge.capture.connection import Connection, Inlet, Said, Step
from edge.capture.holdings import Holder, Live
from edge.capture.session import ProtocolError, Reply, Session
from edge.capture.ticker import PERIOD
from edge.services import Services
from store.job import Job

log = structlog.get_logger()

_PAUSE = 5.0
"""A tick this late means that the process stood still, or its machine did: others may have ended the job meanwhile."""

Ending = Literal["stop", "disconnect", "idle", "lost", "superseded", "ended"]
"""Why audio stops coming: the client said so; it left, broke the protocol, or fell silent; its line broke; another
connection has the job; the job's audio has its end already."""

_GOOD_BYE = (1000, 1001)

_LAST_WORDS = 5.0
"""Seconds in which a client is told why its connection ends; one that does not read is not waited for."""


async def serve(connection: Connection, inlet: Inlet, services: Services, job_id: str, sample: str | None) -> None:
    """Have a connection for as long as its capture lasts; `sample`: the first that the client says it still has."""
    try:
        job, claim = await admit(services, job_id, sample, lambda: inlet.deserted)
    except Refusal as refusal:
        await _last_words(connection, refusal.reply(), refusal.close)
        return
    except Left:
        return
    with structlog.contextvars.bound_contextvars(job=job.job):
        await Capture(connection, inlet, services, job, claim).run()


class Capture:
    """One connection that has its job."""

    __slots__ = (
        "_as_is",
        "_bus",
        "_checking",
        "_claim",
        "_clock",
        "_connection",
        "_converter",
        "_doubtful",
        "_durable",
        "_ending",
        "_heard_at",
        "_inlet",
        "_interim",
        "_job",
        "_publisher",
        "_sending",
        "_services",
        "_session",
        "_stored_at",
        "_ticked_at",
        "_told_lag",
        "_track",
    )

    def __init__(self, connection: Connection, inlet: Inlet, services: Services, job: Job, claim: Claim) -> None:
        assert services.publisher is not None  # noqa: S101 - an admitted job has one
        self._connection = connection
        self._inlet = inlet
        self._services = services
        self._bus = services.bus
        self._job = job.job
        self._claim = claim
        self._publisher = services.publisher
        self._session = Session(job.job, job.options, claim.start)
        self._converter = Converter(job.options.encoding, job.options.sample_rate)
        self._as_is = self._converter.passes  # what was found to be whole samples
        self._track = services.publisher.track(job.job, claim)
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._clock = asyncio.get_running_loop().time
        self._stored_at = 0.0
        self._ticked_at = self._heard_at = self._clock()
        self._told_lag = True
        self._durable = claim.start  # what was stored one tick ago
        self._doubtful = False
        self._checking: asyncio.Task[None] | None = None
        self._interim = asyncio.Event()
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Serve the connection to its end. The job ends well whatever becomes of the connection."""
        log.info("capture begins", sample=self._claim.start)
        holder = Holder(self._job, self._claim, lambda: self._end("superseded"), self._hear)
        events = asyncio.create_task(self._tell_events(self._session.welcome()))
        tasks = [events, asyncio.create_task(self._tell_interim())]
        self._bus.connection.reconnected.add(self._doubt)
        try:
            self._inlet.open(self._take)
            coalesced = self._services.coalescing.reading(self._connection, self._session)
            with coalesced, self._services.ticker.calling(self._tick):
                async with self._services.holdings.hold(holder):
                    ending = await self._ending
                    log.info("audio ends", reason=ending)
                    await self._after(ending, events)
        finally:
            self._bus.connection.reconnected.discard(self._doubt)
            if self._checking is not None:
                tasks.append(self._checking)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, self._inlet.stop(), return_exceptions=True)
            self._publisher.forget(self._track)

    def _doubt(self) -> None:
        """The bus was away: nothing is acked before it is known that the job is still ours."""
        self._doubtful = True

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)
            if ending != "stop":  # after which a client is still heard, and told what it must not say
                self._inlet.close()

    async def _after(self, ending: Ending, events: asyncio.Task[None]) -> None:
        if ending == "lost":
            ending = await self._wait_for_return()
        if ending == "superseded":
            await self._last_words("taken_over", "a newer connection has this job", 4010)
        elif ending == "ended":
            await self._last_words("job_closed", "the job was closed while this server was away", 4009)
        elif ending == "lost":
            # This edge is stopping. The client finds another one, or the segmenter closes the job.
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._track.drained()
        else:
            if ending == "idle":
                await self._last_words("idle", f"no message for {self._services.settings.idle:g} s", 4008)
            if await self._close(ending) and ending == "stop":
                # Until all is told, or the client is gone.
                gone = asyncio.create_task(self._inlet.gone.wait())
                await asyncio.wait([events, gone], return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()

    async def _wait_for_return(self) -> Ending:
        """The line broke: give the client time to come back, to this edge or another."""
        self._ending = asyncio.get_running_loop().create_future()
        stopping = asyncio.ensure_future(self._bus.stopping.wait())
        waits: set[asyncio.Future[Any]] = {self._ending, stopping}
        window = self._services.settings.resume_window
        await asyncio.wait(waits, timeout=window, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._ending.done():
            return self._ending.result()
        return "lost" if self._bus.stopping.is_set() else "disconnect"

    def _take(self, said: Said) -> Step | None:
        try:
            if isinstance(said, list):
                return self._publish(said)
            if isinstance(said, bytes):
                return self._publish([said])
            if isinstance(said, str):
                return self._obey(said)
            self._end("disconnect" if said.code in _GOOD_BYE else "lost")
        except ProtocolError as error:
            return self._object(error)
        except AudioError as exc:
            return self._object(ProtocolError("not_audio", str(exc), 1008))
        except Exception:
            log.exception("capture failed", job=self._job)
            return self._fail()
        return None

    def _publish(self, messages: list[bytes]) -> Step | None:
        """Publish sound that came together; raises what is wrong with the first message."""
        track, good = self._track, messages
        admitted = self._session.check_audio(messages)
        if admitted < len(messages):
            good = messages[:admitted]
        sound = good if self._as_is else self._convert(good)
        rest = track.publish(sound)
        if rest or len(sound) < len(messages):
            return self._go_on(rest, messages[len(sound) :])
        # Nothing is read while this waits, and TCP makes the client wait too.
        return track.room() if track.full else None

    def _convert(self, messages: list[bytes]) -> list[bytes]:
        """The sound of each message up to one that cannot be converted; raises what is wrong with the first."""
        sound: list[bytes] = []
        for message in messages:
            try:
                sound.append(self._converter.push(message))
            except AudioError:
                if not sound:
                    raise
                break
        return sound

    async def _go_on(self, sound: Sequence[bytes], messages: list[bytes]) -> None:
        """Publish the rest of what came, then deal with messages of which the first is wrong."""
        await self._track.send(*sound)
        if messages and (step := self._take(messages)) is not None:
            await step

    def _obey(self, text: str) -> Step | None:
        command = self._session.command(text)
        if command == "finalize":
            return self._cut()
        if command == "stop":
            self._end("stop")
        return None

    async def _cut(self) -> None:
        # What the converter still holds of the sound is less than a frame, and belongs to what follows.
        try:
            await self._track.cut()
        except Exception:
            log.exception("capture failed", job=self._job)
            await self._fail()

    def _object(self, error: ProtocolError) -> Step:
        return self._send(error.reply()) if error.close is None else self._dismiss(error, error.close)

    async def _dismiss(self, error: ProtocolError, close: int) -> None:
        self._inlet.close()
        await self._last_words(error.code, str(error), close)
        self._end("disconnect")

    async def _fail(self) -> None:
        self._inlet.close()
        await self._last_words("internal", "the server failed; what was acked is kept", 1011)
        self._end("lost")

    async def _close(self, reason: Literal["stop", "disconnect", "idle"]) -> bool:
        """No more audio: store what is left of it, then say so on the bus. False: the job is in other hands."""
        if left := self._converter.flush():
            await self._track.send(left)
        try:
            samples = await self._track.finish()
        except Superseded:
            await self._last_words("taken_over", "a newer connection has this job", 4010)
            return False
        self._stored_at = self._clock()
        await self._bus.create(Closed(job=self._job, samples=samples, reason=reason))
        self._services.advance(self._job, "transcribing")
        log.info("capture closed", reason=reason, samples=samples)
        return True

    async def _tell_events(self, welcome: Reply) -> None:
        """Tell what is published about the job; ends with the summary, and then closes the socket."""
        await self._send(welcome)
        async with aclosing(self._bus.read("EVENTS", f"events.{self._job}.>")) as stored:
            async for raw in stored:
                message = read_event(raw.subject, raw.data, _log_unreadable)
                if isinstance(message, Completed):
                    await self._tell_all_is_stored()
                for reply in self._session.on_event(message) if message else ():
                    await self._send(reply)
                if isinstance(message, Completed):
                    break
                await self._send(self._session.status(self._track.sent, lag=False))
        await self._connection.close(1000, "")

    async def _tell_all_is_stored(self) -> None:
        await asyncio.sleep(max(0.0, self._stored_at + PERIOD - self._clock()))
        await self._send(self._session.ack(self._track.stored, complete=True))

    def _tick(self) -> None:
        """Twice a second: tell what is durable, and once how far behind the text is.

        An ack trails by one tick, more than two of the server's sync intervals of 200 ms: what a client is told is
        durable has then reached the disk, and not only the page cache.
        """
        now, before = self._clock(), self._ticked_at
        self._ticked_at = now
        if self._doubtful or now - before > _PAUSE:
            self._doubtful = False
            if self._checking is None:
                self._checking = asyncio.create_task(self._check())
        if self._checking is None and self._connection.ready and not self._sending.locked():
            self._told_lag = not self._told_lag
            for reply in (self._session.ack(self._durable), self._session.status(self._track.sent, lag=self._told_lag)):
                if reply is not None:
                    self._connection.offer(_text(reply))
        if self._inlet.heard or self._inlet.busy:
            self._inlet.heard, self._heard_at = False, now
        elif now - self._heard_at > self._services.settings.idle and not self._track.waiting:
            self._end("idle")
        self._durable = self._track.stored

    async def _check(self) -> None:
        """See that the job is still ours; meanwhile nothing is acked."""
        try:
            await check_claim(self._bus, self._job, self._claim)
        except AudioEnded:
            self._end("ended")
        except Superseded:
            self._end("superseded")
        else:
            self._checking = None

    def _hear(self, message: Live) -> None:
        if isinstance(message, Progress):
            self._session.on_progress(message)
        else:
            self._session.interim.take(message)
            self._interim.set()

    async def _tell_interim(self) -> None:
        while True:
            await self._interim.wait()
            self._interim.clear()
            while await self._send(self._session.interim.next):
                pass

    async def _send(self, reply: Reply | Callable[[], Reply | None] | None) -> bool:
        """Tell the client something, after what it is being told; `reply` is only asked then. False: it was nothing."""
        if reply is None:
            return False
        # Mostly nobody else is being heard, and the client reads: then there is nothing to wait for.
        if not callable(reply) and not self._sending.locked() and self._connection.offer(_text(reply)):
            return True
        async with self._sending:
            message = reply() if callable(reply) else reply
            if message is None:
                return False
            await self._connection.send(_text(message))
            return True

    async def _last_words(self, code: str, message: str, close: int) -> None:
        await _last_words(self._connection, {"type": "error", "code": code, "message": message}, close)


def _text(reply: Reply) -> str:
    return to_json(reply).decode()


async def _last_words(connection: Connection, reply: Reply, close: int) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_LAST_WORDS):
            await connection.send(_text(reply))
            await connection.close(close, reply["code"])


def _log_unreadable(subject: str, error: ContractError) -> None:
    log.warning("event cannot be read", subject=subject, reason=str(error))
