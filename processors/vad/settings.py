"""How jobs are segmented: defaults from the environment, and what a job's own options change. Otherwise pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import webrtcvad
from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contract import RATE, JobOptions, VadOptions
from processors.vad.core import Detector, Parameters
from processors.vad.endpointing import Hangover


def webrtc_detector(aggressiveness: int) -> Detector:
    """A new WebRTC detector; the higher its aggressiveness, 0 to 3, the fewer frames are voiced. Raises ValueError."""
    if aggressiveness not in range(4):
        raise ValueError(f"aggressiveness is {aggressiveness}: 0, 1, 2 and 3 are accepted")
    return partial(webrtcvad.Vad(aggressiveness).is_speech, sample_rate=RATE)


@dataclass(frozen=True, slots=True)
class Plan:
    """How one job is segmented."""

    aggressiveness: int
    """Of the detector, 0 to 3."""
    parameters: Parameters
    partials: bool
    """Whether interim results are made."""
    hangover: Hangover | None
    """Bounds of adaptive endpointing; None: fixed."""


class Settings(BaseSettings):
    """How jobs are segmented unless their options say otherwise."""

    model_config = SettingsConfigDict(env_prefix="VAD_", validate_default=False)

    aggressiveness: int = Field(2, ge=0, le=3, description="webrtcvad mode: 3 calls the least speech.")
    onset_ms: int = Field(90, ge=30, le=600, description="Voiced time that opens a segment.")
    padding_ms: int = Field(300, ge=0, le=1_000, description="Sound kept before and after speech.")
    hangover_ms: int = Field(600, ge=150, le=3_000, description="Silence that ends a segment.")
    endpointing: Literal["fixed", "adaptive"] = Field(
        "fixed", description="`adaptive`: the silence that ends a segment depends on whether a sentence is over."
    )
    min_hangover_ms: int = Field(300, ge=150, le=3_000, description="Adaptive: behind the end of a sentence.")
    max_hangover_ms: int = Field(900, ge=150, le=3_000, description="Adaptive: in the middle of a sentence.")
    max_ms: int = Field(28_000, ge=5_000, le=28_000, description="Longest segment.")
    ack_wait: float = Field(5.0, ge=0.5, description="Seconds of silence after which a worker counts as dead.")
    abandoned: float = Field(35.0, gt=0, description="Seconds without audio until a job that no edge holds is ended.")
    coalesce: int = Field(100, ge=1, description="From this number of jobs on, audio is read every 25 ms.")
    replays: int = Field(8, ge=1, le=1_000, description="Replays that a worker processes at the same time.")

    # Defaults are not validated: a longer or shorter hangover alone is accepted, and widens the bounds.
    @field_validator("min_hangover_ms", "max_hangover_ms")
    @classmethod
    def _around_hangover(cls, bound: int, info: ValidationInfo) -> int:
        hangover = info.data.get("hangover_ms", bound)
        if info.field_name == "min_hangover_ms" and bound > hangover:
            raise ValueError(f"at most VAD_HANGOVER_MS is accepted, which is {hangover}")
        if info.field_name == "max_hangover_ms" and bound < hangover:
            raise ValueError(f"at least VAD_HANGOVER_MS is accepted, which is {hangover}")
        return bound

    def plan(self, options: JobOptions, *, replay: bool = False) -> Plan:
        """How a job with these options is segmented; all options are accepted.

        replay: the audio is stored already, and so are the cut requests of adaptive endpointing.
        """
        asked = options.vad
        partials = options.partials and options.source == "live"
        adaptive = partials and (asked.endpointing or self.endpointing) == "adaptive"
        hangover = self._hangover(asked) if adaptive else None
        chosen = {
            name: getattr(self, name) if (value := getattr(asked, name)) is None else value
            for name in ("onset_ms", "padding_ms", "hangover_ms", "max_ms")
        }
        if hangover is not None:
            chosen["hangover_ms"] = hangover.most * 1000 // RATE
        mode = self.aggressiveness if asked.aggressiveness is None else asked.aggressiveness
        return Plan(mode, Parameters(**chosen), partials and not replay, None if replay else hangover)

    def _hangover(self, asked: VadOptions) -> Hangover:
        """A job's options prevail over the settings, and its hangover over its bounds."""
        usual = asked.hangover_ms
        if usual is None:
            usual = max(self.hangover_ms, asked.min_hangover_ms or 0)
            usual = min(usual, asked.max_hangover_ms or usual)
        least = min(asked.min_hangover_ms or self.min_hangover_ms, usual)
        most = max(asked.max_hangover_ms or self.max_hangover_ms, usual)
        return Hangover(*(ms * RATE // 1000 for ms in (least, usual, most)))
