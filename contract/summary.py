"""The summary of a job."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from contract.message import Message, Value


class ActionItem(Value):
    """A task that somebody has."""

    who: str | None = None
    what: str
    due: str | None = None


class SummaryView(Value):
    """The summary of a job, as clients see it."""

    title: str
    summary: str
    key_points: list[str] = Field(default_factory=list)
    decisions: list[str] = Field(default_factory=list)
    action_items: list[ActionItem] = Field(default_factory=list)
    language: str | None = None
    engine: Literal["ollama", "extractive", "none"]
    model: str | None = Field(None, description="The language model, if one wrote this.")
    reason: str | None = Field(None, description="Why the language model did not write this.")


class Summary(SummaryView, Message):
    """The summary of a job."""

    SUBJECT = "events.{job}.summary"

    generation: int = Field(1, ge=1, description="The generation that it sums up, and that the finished job has.")

    @property
    def view(self) -> SummaryView:
        """What clients see of it."""
        return SummaryView(**self.model_dump(exclude={"job", "generation"}))
