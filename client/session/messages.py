"""The messages of a job across its connections: duplicates are dropped, missed ones come from its record. Pure."""

from __future__ import annotations

from client.errors import ServerError
from client.reading import Job, Json, read
from contract import RATE
from contract.socket import SocketAck, SocketPartial, SocketSpeechStarted, SocketWelcome
from contract.view import SegmentView, View

ROUNDING = RATE // 2_000
"""Samples by which the duration in a record, in milliseconds, may be off."""


class Deduplicator:
    """Knows what a job's connections have sent. A new connection repeats finals and the state of the open segment."""

    def __init__(self) -> None:
        self.stored = 0
        """Samples that a server is known to have."""
        self.finals = 0
        """Segments that have arrived."""
        self._indexes: set[int] = set()
        self._final_until = 0.0  # seconds; end of the last final
        self._speech = -1.0  # seconds; start of the last speech

    def is_new(self, message: View | None) -> bool:
        """Take a message; False for a repeated one, and for an interim one whose final has arrived."""
        match message:
            case SocketWelcome(next_sample=samples) | SocketAck(samples=samples):
                self.stored = max(self.stored, samples)
            case SegmentView(index=index, end=end):
                if index in self._indexes:
                    return False
                self._indexes.add(index)
                self._final_until = max(self._final_until, end)
                self.finals += 1
            case SocketPartial(start=start):
                return start >= self._final_until
            case SocketSpeechStarted(start=start):
                if start < self._final_until or start <= self._speech:
                    return False
                self._speech = start
        return True


def catch_up(record: Json) -> list[Json]:
    """Return what a capture socket would have sent of a job: its finals; once completed, the last ack and the summary.

    Raises ServerError for a broken record, and for a job that will never be completed.
    """
    job = read(Job, record, "job")
    if job.state in ("failed", "deleted"):
        raise ServerError(f"job {job.job_id} is {job.state}")
    messages: list[Json] = [{"type": "transcript_segment", **segment} for segment in record["segments"]]
    if job.state == "completed":
        messages += [
            {"type": "ack", "samples": round((job.duration or 0) * RATE)},
            {
                "type": "final_summary",
                "job_id": job.job_id,
                "summary": record["summary"],
                "transcript": job.transcript,
                "total_segments": len(job.segments),
            },
        ]
    return messages
