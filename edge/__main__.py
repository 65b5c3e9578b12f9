"""The edge as a process."""

from __future__ import annotations

from bus import Bus, run
from bus.run import load
from edge.app import application
from edge.rest import erasure
from edge.server import guarded, listen, serve
from edge.services import Settings, services
from store.jobs import StoreSettings


async def main(bus: Bus, settings: Settings) -> None:
    """Serve until the bus is stopping. Until the bus and the store can be reached, clients are refused with a reason.

    A background task that fails ends the process.
    """
    with listen(settings.host, settings.port, reuse=settings.reuse_port) as sockets:
        async with services(bus, settings, load(StoreSettings)) as shared:
            shared.tasks.start(erasure.sweep_regularly(shared))
            await serve(guarded(application(shared), settings), sockets, bus.stopping)


if __name__ == "__main__":
    run("edge", main, Settings, wait=False)
