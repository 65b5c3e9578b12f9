"""What a webhook carries, how it is signed, and what the receiver's answer means. Pure: no I/O in this file."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from standardwebhooks import Webhook

from contract import Completed, JobOptions, Message, Summary, Transcript, seconds, transcript_text
from contract.view import SegmentView, WebhookView

LONGEST_WAIT = 60.0
"""Seconds; a receiver that asks for more is tried again after this time."""

_SHORTEST_WAIT = 1.0

_TEMPORARY = {408, 425, 429}
"""Request Timeout, Too Early, Too Many Requests: the only 4xx (RFC 9110, 8470, 6585) that mean "later", not "no"."""

_KEY_PREFIX = "whsec_"


def job_completed(options: JobOptions, completed: Completed, events: Iterable[Message]) -> WebhookView:
    """What the events of a finished job say; segments 0 to n - 1 are all there, if need be with an `error`."""
    transcripts: dict[int, Transcript] = {}
    summary: Summary | None = None
    for event in events:
        match event:
            case Transcript() if event.generation == completed.generation:
                transcripts[event.index] = event
            case Summary():
                summary = event
    ordered = [transcripts.get(index) or _missing(completed.job, index) for index in range(completed.segments)]
    return WebhookView(
        job_id=completed.job,
        metadata=options.metadata,
        duration=seconds(completed.samples),
        segments=[SegmentView.of(transcript) for transcript in ordered],
        transcript=transcript_text(ordered),
        summary=summary.view if summary else None,
    )


def _missing(job: str, index: int) -> Transcript:
    return Transcript(job=job, index=index, start=0, end=0, text="", error="its transcript is not on the bus any more")


def encode(body: WebhookView) -> bytes:
    """JSON in UTF-8; a number in the metadata that JSON cannot express becomes null."""
    return body.model_dump_json().encode()


def signing_key(secret: str) -> bytes:
    """The key that a secret stands for; raises ValueError.

    `whsec_` and base64 as in the Standard Webhooks specification; of any other text the bytes in UTF-8.
    """
    if not secret.startswith(_KEY_PREFIX):
        return secret.encode()
    text = secret.removeprefix(_KEY_PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ValueError(f"{_KEY_PREFIX} is followed by something that is not base64")
    return key


def headers(job: str, body: bytes, secret: str | None, now: datetime) -> dict[str, str]:
    """The headers of one attempt to deliver a job. What identifies the job is the same in each attempt.

    Source of `webhook-*`: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    message_id = f"job_completed_{job}"
    found = {
        "Content-Type": "application/json",
        "User-Agent": "stenobus",
        "Idempotency-Key": job,
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
    }
    if secret is None:
        return found
    key = signing_key(secret)
    found["webhook-signature"] = Webhook(key).sign(message_id, now, body.decode())
    if not secret.startswith(_KEY_PREFIX):  # the header of earlier versions, which had no other secrets
        found["Stenobus-Signature"] = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
    return found


def is_temporary(status: int) -> bool:
    """Whether the receiver may accept the same request later."""
    return status >= 500 or status in _TEMPORARY


def seconds_to_wait(retry_after: str | None, now: datetime) -> float | None:
    """How long a header Retry-After (RFC 9110, section 10.2.3) asks to wait, within bounds; None: it does not say."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    try:
        wait = float(text) if text.isdecimal() else (_date(text) - now).total_seconds()
    except ValueError:
        return None
    return min(max(wait, _SHORTEST_WAIT), LONGEST_WAIT)


def _date(text: str) -> datetime:
    date = parsedate_to_datetime(text)
    return date if date.tzinfo else date.replace(tzinfo=UTC)
