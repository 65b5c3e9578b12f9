"""Which jobs this edge has a connection of, and how edges tell each other of a take-over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
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
class Holder:
    """A connection that has a job."""

    job: str
    claim: Claim
    let_go: Callable[[], None]
    """Called when another connection has taken the job over."""
    hear: Callable[[Live], None]
    """Called with what is told of the job while it is live."""


class Holdings:
    """The jobs of one edge; one subscription each serves all of them."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._holders: dict[str, Holder] = {}

    def __len__(self) -> int:
        return len(self._holders)

    @asynccontextmanager
    async def open(self, client: FastClient) -> AsyncIterator[None]:
        """Listen for as long as the block runs."""
        # There is something of each job every second, and every edge hears of the jobs of all.
        heard = [client.subscribe(cls.pattern("*"), partial(self._on_live, cls)) for cls in LIVE]
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(listening(self._bus, Attached, "*", self._on_attached))
            # The segmenter asks before it ends the audio of a job that has fallen silent.
            await stack.enter_async_context(answering(self._bus, "live.*.holder", self._answer))
            yield
        for sid in heard:
            client.unsubscribe(sid)

    @asynccontextmanager
    async def hold(self, holder: Holder) -> AsyncIterator[None]:
        """Have a job while the block runs, or until a later claim; whoever had it here or elsewhere lets go."""
        former = self._holders.get(holder.job)
        self._holders[holder.job] = holder
        if former is not None:
            former.let_go()
        await self._bus.publish(Attached(job=holder.job, claim=holder.claim.seq))
        try:
            yield
        finally:
            if self._holders.get(holder.job) is holder:
                del self._holders[holder.job]

    def _answer(self, job: str) -> bytes | None:
        return b"" if job in self._holders else None

    def _on_attached(self, attached: Attached) -> None:
        holder = self._holders.get(attached.job)
        if holder is not None and attached.claim > holder.claim.seq:
            holder.let_go()

    def _on_live(self, cls: type[Live], subject: bytes, _headers: bytes, data: bytes) -> None:
        holder = self._holders.get(subject.split(b".")[1].decode())
        if holder is not None:
            with suppress(ContractError):
                holder.hear(cls.decode(data))
