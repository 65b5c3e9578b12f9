"""Follow the events on a Stenobus bus from your own program.

    import asyncio
    import stenobus


    async def main() -> None:
        async for event in stenobus.subscribe("transcript", "completed", url="nats://127.0.0.1:4222"):
            if event.kind == "transcript" and event.message.generation == 1:
                print(event.seq, event.message.job, event.message.text)


    asyncio.run(main())

First come the stored events, then new ones as they happen; each exactly once, even if the connection breaks or the
server restarts. A program that remembers the `seq` of its last event resumes after it with `after=seq`.

Transcripts of generation 1 are the live text. A job that is transcribed again has them of other generations, too;
`completed` says which one the finished job has.
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
