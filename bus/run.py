"""Runs a process on the bus: reads its settings, handles signals, and gives back unfinished work when it stops."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Annotated, NoReturn, TypeVar

import structlog
import uvloop
from pydantic import AfterValidator, AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus.connection import Connection, check_address
from bus.streams import Bus
from bus.supervisor import Supervisor
from bus.topology import StreamSettings

log = structlog.get_logger()
S = TypeVar("S", bound=BaseSettings)

FAILED = 1
"""Exit status of a process that ended by an exception; starting it again may help."""

CANNOT_START = 2
"""Exit status of a process that cannot start before a person changes its settings or its machine."""

_WATCH_SECONDS = 5.0


class StartError(Exception):
    """The process cannot start; the text is one sentence that says what to change."""


def _nats_url(urls: str) -> str:
    check_address(urls)
    return urls


class ProcessSettings(BaseSettings):
    """Settings of every process."""

    model_config = SettingsConfigDict(extra="ignore")

    nats_url: Annotated[str, AfterValidator(_nats_url)] = Field(
        "nats://127.0.0.1:4222",
        validation_alias=AliasChoices("NATS_URL", "nats_url"),
        description="Address of the NATS server; of a cluster several, with commas between.",
    )
    log_level: str = Field(
        "INFO",
        pattern=r"^(DEBUG|INFO|WARNING|ERROR)$",
        validation_alias=AliasChoices("LOG_LEVEL", "log_level"),
        description="`DEBUG`, `INFO`, `WARNING` or `ERROR`.",
    )


def load(cls: type[S]) -> S:
    """Settings from the environment; raises StartError that names the variable and says what is accepted.

    It shows the value, too, unless that is a SecretStr.
    """
    try:
        return cls()
    except ValidationError as exc:
        prefix = cls.model_config.get("env_prefix", "")
        secrets = {name for name, field in cls.model_fields.items() if "SecretStr" in str(field.annotation)}
        errors = exc.errors(include_url=False)
        # The error of a secret shows its value: it must not become the cause that a traceback prints.
        raise StartError("; ".join(_explain(prefix, error, secrets) for error in errors)) from None


def _explain(prefix: str, error: object, secrets: set[str]) -> str:
    assert isinstance(error, dict)  # noqa: S101 - pydantic's ErrorDetails
    name = ".".join(map(str, error["loc"]))
    variable = name if name.isupper() else (prefix + name).upper()
    value = "" if name in secrets else f"={error.get('input')!r}"
    return f"{variable}{value}: {error['msg']}"


def run(
    name: str, main: Callable[[Bus, S], Coroutine[None, None, None]], cls: type[S], *, wait: bool = True
) -> NoReturn:
    """Run `main(bus, settings)` as this process until it returns or SIGINT or SIGTERM sets `bus.stopping`.

    Unless `wait` is False, `main` starts once the bus is connected. Exit status: 0 stopped, 1 failed, 2 cannot start.
    """
    try:
        process, settings, streams = load(ProcessSettings), load(cls), load(StreamSettings)
        _configure_logging(process.log_level)
        bus = Bus(Connection(process.nats_url, name=name, streams=streams))
        gc.freeze()  # imported modules stay, so the garbage collector need not look at them again
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(bus, main(bus, settings), wait=wait))
    except StartError as exc:
        print(f"{name} cannot start: {exc}", file=sys.stderr)  # noqa: T201 - for a person, not for a log
        sys.exit(CANNOT_START)
    except Exception:
        log.exception("process failed", process=name)
        sys.exit(FAILED)
    sys.exit(0)


async def _run(bus: Bus, main: Coroutine[None, None, None], *, wait: bool) -> None:
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, bus.stopping.set)
    try:
        async with Supervisor() as tasks:
            tasks.start(_keep_connected(bus), name="keep connected")
            if wait:
                events = [tasks.start(event.wait()) for event in (bus.connection.connected, bus.stopping)]
                await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
            if not bus.stopping.is_set():
                await main
    finally:
        main.close()  # it may not have begun
        await bus.connection.close()


async def _keep_connected(bus: Bus) -> None:
    """Connect, then check the connection: nats-py can stop reading and still report that it is connected."""
    await bus.connection.connect()
    failures = 0
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        failures = 0 if await bus.connection.alive(_WATCH_SECONDS) else failures + 1
        if failures == 2:
            raise RuntimeError("the connection to the bus does not respond")


def _configure_logging(level: str) -> None:
    """Log one line per event to stderr: JSON, or coloured text on a terminal; the libraries' logs included."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
