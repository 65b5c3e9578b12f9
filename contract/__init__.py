"""The contract: every message on the bus, and the JSON that clients see. It needs only pydantic and msgpack; no I/O.

Import messages and their parts from here, audio frames from `contract.audio`, the messages of the capture socket from
`contract.socket`, and the JSON of REST and webhooks from `contract.view`.
"""

from contract.deadletter import Dead, Redrive, Redriven, dead_letter
from contract.event import ALL, EVENT_KINDS, EVENTS, KINDS, LIVE, kind_of, parse_event, read_event
from contract.job import (
    CORRECTED,
    LANGUAGES,
    Closed,
    Completed,
    JobOptions,
    LanguageCode,
    Opened,
    Replay,
    Replayed,
    Segmented,
    Source,
    SpeechOptions,
    State,
    VadOptions,
)
from contract.live import Attached, Partial, Progress, Snapshot, Speaking
from contract.message import (
    JOB_ID,
    RATE,
    VERSION,
    WIDTH,
    ContractError,
    JobId,
    Message,
    Probability,
    Samples,
    Value,
    is_job_id,
    seconds,
)
from contract.speech import LONGEST_LEAD, Utterance, Window
from contract.summary import ActionItem, Summary
from contract.transcript import Transcript, Word, language_of, read_transcripts, transcript_text

__all__ = [
    "ALL",
    "CORRECTED",
    "EVENTS",
    "EVENT_KINDS",
    "JOB_ID",
    "KINDS",
    "LANGUAGES",
    "LIVE",
    "LONGEST_LEAD",
    "RATE",
    "VERSION",
    "WIDTH",
    "ActionItem",
    "Attached",
    "Closed",
    "Completed",
    "ContractError",
    "Dead",
    "JobId",
    "JobOptions",
    "LanguageCode",
    "Message",
    "Opened",
    "Partial",
    "Probability",
    "Progress",
    "Redrive",
    "Redriven",
    "Replay",
    "Replayed",
    "Samples",
    "Segmented",
    "Snapshot",
    "Source",
    "Speaking",
    "SpeechOptions",
    "State",
    "Summary",
    "Transcript",
    "Utterance",
    "VadOptions",
    "Value",
    "Window",
    "Word",
    "dead_letter",
    "is_job_id",
    "kind_of",
    "language_of",
    "parse_event",
    "read_event",
    "read_transcripts",
    "seconds",
    "transcript_text",
]
