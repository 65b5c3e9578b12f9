"""A process on the bus for the tests of `bus.run`: prints its settings, works until it is stopped, or fails."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import Bus, StartError, run
from bus.feed import Feed


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="PART_")

    size: int = Field(1, ge=1, le=3)
    fail: str = ""


async def main(bus: Bus, settings: Settings) -> None:
    if settings.fail == "start":
        raise StartError("the thing is missing: put it there")
    if settings.fail == "later":
        raise RuntimeError("broken")
    if settings.fail == "background":
        async with Feed(bus) as feed:
            feed._followers.add(cast("Any", "broken"))  # the feed's background task cannot deal with it
            await asyncio.Event().wait()
    print(f"working size={settings.size} connected={bus.connection.connected.is_set()}", flush=True)  # noqa: T201
    await bus.stopping.wait()
    print("stopped", flush=True)  # noqa: T201


if __name__ == "__main__":
    run("part", main, Settings)
