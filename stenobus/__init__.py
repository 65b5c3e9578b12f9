"""Follow what happens on a Stenobus bus, from a program of yours.

    import asyncio
    import stenobus


    async def main() -> None:
        async for event in stenobus.subscribe("transcript", "completed", url="nats://127.0.0.1:4222"):
            if event.kind == "transcript":
                print(event.seq, event.message.job, event.message.text)


    asyncio.run(main())

What is stored comes first, then what happens, each event once, whatever happens to the line or to the server. A program
that keeps the `seq` of the last event it dealt with goes on behind it with `after=seq`.
"""

from contract import (
    Attached,
    Closed,
    Completed,
    ContractError,
    Dead,
    Message,
    Opened,
    Partial,
    Progress,
    Redrive,
    Redriven,
    Replay,
    Replayed,
    Segmented,
    Speaking,
    Summary,
    Transcript,
)
from stenobus.kinds import ACCEPTED, Other
from stenobus.subscription import Event, subscribe

__all__ = [
    "ACCEPTED",
    "Attached",
    "Closed",
    "Completed",
    "ContractError",
    "Dead",
    "Event",
    "Message",
    "Opened",
    "Other",
    "Partial",
    "Progress",
    "Redrive",
    "Redriven",
    "Replay",
    "Replayed",
    "Segmented",
    "Speaking",
    "Summary",
    "Transcript",
    "subscribe",
]
