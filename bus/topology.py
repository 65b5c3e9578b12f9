"""The three streams: their configuration, and how they are created, or updated without losing a message."""

from __future__ import annotations

from dataclasses import replace

import structlog
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RePublish, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract import VERSION
from contract.audio import audio_subject, feed_subject

log = structlog.get_logger()

_METADATA_KEY = "stenobus.contract"


class StreamSettings(BaseSettings):
    """How long the streams keep messages, how many, and in how many copies."""

    model_config = SettingsConfigDict(env_prefix="BUS_")

    audio_hours: float = Field(24, gt=0, description="How long audio and cut speech are kept.")
    events_days: float = Field(7, gt=0, description="How long transcripts and other events are kept.")
    audio_max_bytes: int = Field(-1, ge=-1, description="Where AUDIO refuses more; -1: the server's own limit.")
    replicas: int = Field(1, ge=1, le=5, description="Copies of each stream in a cluster.")


def configurations(settings: StreamSettings) -> list[StreamConfig]:
    """The configuration of each stream."""
    audio_age, events_age = settings.audio_hours * 3600, settings.events_days * 86_400
    base = StreamConfig(
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        # Refuse when full: the publisher then waits, and its client with it. Discarding old audio would lose it.
        discard=DiscardPolicy.NEW,
        allow_direct=True,
        num_replicas=settings.replicas,
        # Messages are identified by subject and sample index. Message ids are not used, so their table is kept short.
        duplicate_window=1,
        metadata={_METADATA_KEY: str(VERSION)},
    )
    return [
        replace(
            base,
            name="AUDIO",
            subjects=["audio.*"],
            max_age=audio_age,
            max_bytes=settings.audio_max_bytes,
            max_msg_size=65_536,
            # Stored messages are republished on `feed.<job>` for readers of many jobs: see `feed.py`.
            republish=RePublish(src=audio_subject("*"), dest=feed_subject("{{wildcard(1)}}")),
        ),
        replace(base, name="SPEECH", subjects=["speech.>"], max_age=audio_age),
        # Roll-up: a message may replace all messages of its subject in one step.
        replace(base, name="EVENTS", subjects=["events.>"], max_age=events_age, allow_rollup_hdrs=True),
    ]


async def set_up(js: JetStreamContext, settings: StreamSettings) -> None:
    """Create missing streams and update those that differ; many processes may do so at once."""
    for wanted in configurations(settings):
        assert wanted.name  # noqa: S101 - narrows the type: each configuration has one
        try:
            current = (await js.stream_info(wanted.name)).config
        except NotFoundError:
            await js.add_stream(wanted)
            log.info("stream created", stream=wanted.name)
            continue
        if int((current.metadata or {}).get(_METADATA_KEY, 0)) > VERSION:
            continue
        merged = current.evolve(**{name: value for name, value in vars(wanted).items() if value is not None})
        merged.metadata = {**(current.metadata or {}), **(wanted.metadata or {})}
        if merged != current:
            await js.update_stream(merged)
            log.info("stream updated", stream=wanted.name)
