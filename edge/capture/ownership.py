"""Which connection has which job, and how a take-over reaches the former owner, also at another edge."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from bus import Bus
from bus.claim import Claim
from bus.fast_client import FastClient
from bus.requests import answering, listening
from contract import Attached, ContractError, Partial, Progress, Speaking

Live = Progress | Speaking | Partial
LIVE: tuple[type[Live], ...] = (Progress, Speaking, Partial)


@dataclass(frozen=True, slots=True, eq=False)
class JobOwner:
    """A connection that has a job."""

    job: str
    claim: Claim
    on_taken_over: Callable[[], None]
    """Called when another connection has the job."""
    on_live: Callable[[Live], None]
    """Called with what the workers report while the job is live."""


class OwnershipRegistry:
    """The connections of one edge and their jobs. One subscription each serves all of them."""

    def __init__(self, bus: Bus) -> None:
        self.admitted = 0
        """Connections that have their place, whether or not they have their job yet."""
        self._bus = bus
        self._owners: dict[str, JobOwner] = {}

    @contextmanager
    def admission(self) -> Iterator[Callable[[], None]]:
        """Gives a function that takes a place, which is free again when the block ends."""
        admitted = 0

        def admit() -> None:
            nonlocal admitted
            admitted = 1
            self.admitted += 1

        try:
            yield admit
        finally:
            self.admitted -= admitted

    @asynccontextmanager
    async def running(self, client: FastClient) -> AsyncIterator[None]:
        """Pass on what concerns the jobs while the block runs."""
        # Every edge gets about one message a second for each job of all edges.
        subscriptions = [client.subscribe(cls.pattern("*"), partial(self._on_live, cls)) for cls in LIVE]
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(listening(self._bus, Attached, "*", self._on_attached))
            # The segmenter asks before it ends the audio of a job that has fallen silent.
            await stack.enter_async_context(answering(self._bus, "live.*.holder", self._answer))
            yield
        for subscription in subscriptions:
            client.unsubscribe(subscription)

    @asynccontextmanager
    async def owning(self, owner: JobOwner) -> AsyncIterator[None]:
        """Have a job while the block runs, or until a later claim; the former owner, here or elsewhere, is notified."""
        former = self._owners.get(owner.job)
        self._owners[owner.job] = owner
        if former is not None:
            former.on_taken_over()
        try:
            await self._bus.publish(Attached(job=owner.job, claim=owner.claim.seq))
            yield
        finally:
            if self._owners.get(owner.job) is owner:
                del self._owners[owner.job]

    def _answer(self, job: str) -> bytes | None:
        return b"" if job in self._owners else None

    def _on_attached(self, attached: Attached) -> None:
        owner = self._owners.get(attached.job)
        if owner is not None and attached.claim > owner.claim.seq:
            owner.on_taken_over()

    def _on_live(self, cls: type[Live], subject: bytes, _headers: bytes, data: bytes) -> None:
        owner = self._owners.get(subject.split(b".")[1].decode())
        if owner is not None:
            with suppress(ContractError):
                owner.on_live(cls.decode(data))
