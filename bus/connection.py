"""The connection to the NATS server: opened, watched, and waited for while the server is away."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar
from urllib.parse import ParseResult, SplitResult, urlsplit

import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext

from bus.backoff import delays
from bus.topology import StreamSettings, set_up
from contract import ContractError
from contract.address import listed, without_password

log = structlog.get_logger()
T = TypeVar("T")

ACK_TIMEOUT = 2.0
"""Seconds to wait for a PubAck. After a disk error the server does not answer at all, so there must be a limit."""

_FULL = {10023, 10047}
"""Error codes of the server: JetStream as a whole may not take any more, or not as much."""

_REFUSAL_COUNTS = 15.0
"""Seconds. Whoever is refused tries again sooner, or has given up."""


class Connection:
    """A connection that nats-py opens again whenever it breaks, to one of several servers.

    url: addresses with commas between; raises ValueError for one that is malformed. `url` has no passwords.
    `trouble` says in one sentence why it cannot be used now; None: it can. `connected` is set once it was opened for
    the first time. Everything in `reconnected` is called after each reconnection.
    """

    def __init__(self, url: str, *, name: str = "stenobus", streams: StreamSettings | None = None) -> None:
        self.addresses = [urlsplit(address) for address in check_address(url)]
        self.url = without_password(",".join(address.geturl() for address in self.addresses))
        self.name = name
        self.trouble: str | None = "not connected yet"
        self.connected = asyncio.Event()
        self.nc = Client()
        self.js: JetStreamContext = self.nc.jetstream(timeout=ACK_TIMEOUT)
        self.reconnected: set[Callable[[], None]] = set()
        self._refused: tuple[str, float] | None = None
        self._streams = streams or StreamSettings()
        self._opened = False
        self._told: set[str] = set()

    @property
    def is_up(self) -> bool:
        """Whether there is a connection at this moment."""
        return self.nc.is_connected

    @property
    def refusal(self) -> str | None:
        """Why the server has lately refused to store a message because it may not take any more; None: it has not."""
        if self._refused and asyncio.get_running_loop().time() < self._refused[1] + _REFUSAL_COUNTS:
            return self._refused[0]
        return None

    def note_refusal(self, code: int | None, text: str) -> None:
        """Take note of an answer to a publish: an error code of the server with its text."""
        if code in _FULL:
            self._refused = text, asyncio.get_running_loop().time()

    async def connect(self) -> None:
        """Connect and set the streams up; waits as long as the server is away."""
        await self._open()
        await self.until_done(lambda: set_up(self.js, self._streams), "streams cannot be set up")
        self.trouble = None
        self.connected.set()
        log.info("bus connected", url=self.url)

    async def _open(self) -> None:
        self._opened = True
        same = len({address.netloc.rpartition("@")[0] for address in self.addresses}) == 1
        login = self.credentials(self.addresses[0]) if same else {}
        await self.nc.connect(
            [address.geturl() for address in self.addresses],
            name=self.name,
            inbox_prefix=f"_INBOX_{self.name}",
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,  # type: ignore[arg-type] # annotated as int, but only passed to sleep
            ping_interval=10,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            # Also for servers of a cluster that are only known from the others, without a password.
            user=login.get("user"),
            password=login.get("pass"),
            token=login.get("auth_token"),
        )

    def credentials(self, address: SplitResult | ParseResult) -> dict[str, str]:
        """User and password, or the token, for a server, as the options of CONNECT; empty if there are none.

        A server that others of its cluster have named comes without them; unless it is one of ours, the first one's
        are meant for it.
        """
        ours = {(one.hostname, one.port or 4222): one for one in self.addresses}
        named = ours.get((address.hostname, address.port or 4222), self.addresses[0])
        given = named if address.username is None else address
        if given.username is None:
            return {}
        if given.password is None:
            return {"auth_token": given.username}
        return {"user": given.username, "pass": given.password}

    def certified_name(self, address: ParseResult) -> str | None:
        """The name that the certificate of a server has: as in nats-py the first one's for an unknown IP address."""
        known = {one.hostname for one in self.addresses}
        is_number = re.fullmatch(r"[\d.]+|.*:.*", address.hostname or "")
        return self.addresses[0].hostname if is_number and address.hostname not in known else address.hostname

    async def close(self) -> None:
        """Send what is buffered, then disconnect."""
        if self.is_up:
            with suppress(nats.errors.Error, TimeoutError):
                await self.nc.flush(2)  # drain() can wait 30 s for pull subscriptions
        if self._opened:  # nats-py cannot close what was never opened
            await self.nc.close()

    async def alive(self, timeout: float) -> bool:
        """Whether the server answers within `timeout` seconds, or is away and nats-py is reconnecting."""
        if not self.is_up:
            return not self.nc.is_closed
        try:
            await self.nc.flush(timeout)  # type: ignore[arg-type] # annotated as int, but only passed to wait_for
        except nats.errors.Error:
            return not self.is_up and not self.nc.is_closed
        return True

    async def flushed(self) -> None:
        """Return once the server has processed all that was sent on this connection."""
        # The PING of a flush overtakes what nats-py has queued (2.16). A second one comes behind all of it.
        await self.nc.flush()
        await self.nc.flush()

    async def until_done(self, action: Callable[[], Awaitable[T]], what: str) -> T:
        """Repeat an action while the server is away or slow; raises errors that waiting does not cure.

        what: says in the log what does not work meanwhile.
        """
        retry_in, warned = delays(0.1, 2.0), False
        while True:
            try:
                if self.is_up:
                    return await action()
            except nats.js.errors.BadRequestError:
                raise
            except nats.errors.MaxPayloadError as exc:
                raise ContractError("message larger than the server takes") from exc
            except (nats.errors.Error, TimeoutError) as exc:
                if isinstance(exc, nats.js.errors.APIError):
                    self.note_refusal(exc.err_code, exc.description or "")
                if not warned:
                    log.warning("bus: " + what + ", trying again", reason=str(exc) or type(exc).__name__)
                    warned = True
            await asyncio.sleep(next(retry_in))

    async def _on_error(self, exc: Exception) -> None:
        if not self.is_up:
            text = f"NATS at {self.url} cannot be reached: {str(exc) or type(exc).__name__}"
            if text not in self._told:  # several servers fail in turn, each with a reason of its own
                log.warning("waiting for the bus", reason=text)
            self._told.add(text)
            self.trouble = text
        else:
            log.error("bus error", error=repr(exc))

    async def _on_disconnected(self) -> None:
        self.trouble = f"NATS at {self.url} has closed the connection"

    async def _on_reconnected(self) -> None:
        self.trouble = self._refused = None
        self._told.clear()
        log.info("bus reconnected", url=self.url)
        for wake in list(self.reconnected):
            wake()


class ReadOnlyConnection(Connection):
    """A connection that leaves the streams as they are; they must exist already.

    within: seconds that the first connection may take, for each server; later ones are waited for as long as it takes.
    """

    def __init__(self, url: str, *, name: str = "reader", within: float = 10.0) -> None:
        super().__init__(url, name=name, streams=StreamSettings.model_construct())
        self._within = within * len(self.addresses)

    async def connect(self) -> None:
        """Connect; raises ConnectionError with the reason why that is impossible."""
        try:
            async with asyncio.timeout(self._within):
                await self._open()
                self.trouble = None
                found = await self.until_done(self._has_streams, "JetStream does not answer")
        except (nats.errors.Error, TimeoutError) as exc:
            raise ConnectionError(f"cannot reach NATS at {self.url}: {self._why()}") from exc
        if not found:
            raise ConnectionError(
                f"NATS at {self.url} has no stream EVENTS: it is no Stenobus bus, or none of its parts has run yet"
            )
        self.connected.set()

    async def _on_error(self, exc: Exception) -> None:
        # Until it is connected, `connect` raises the reason. When the connection breaks, the retries log it.
        if self.connected.is_set() and not isinstance(exc, nats.errors.UnexpectedEOF):
            await super()._on_error(exc)

    async def _has_streams(self) -> bool:
        try:
            await self.js.stream_info("EVENTS")
        except nats.js.errors.NotFoundError:
            return False
        return True

    def _why(self) -> str:
        error = self.nc.last_error
        if self.is_up or error is None:
            return "JetStream does not answer" if self.is_up else "it does not answer"
        if isinstance(error, OSError) and error.errno:
            # asyncio replaces the system's message by its own, and name resolution has error numbers of its own.
            return (os.strerror(error.errno) if error.errno > 0 else str(error.strerror)).lower()
        return str(error) or type(error).__name__


def check_address(urls: str) -> list[str]:
    """The addresses of NATS servers in a setting; raises ValueError if one of them cannot be that."""
    found = [address if "://" in address else f"nats://{address}" for address in listed(urls)]
    for url in found or [urls]:
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("nats", "tls") and parts.hostname and parts.port != 0
        except ValueError:  # brackets or a port that are wrong
            valid = False
        if not valid:
            accepted = "nats://HOST:PORT or tls://HOST:PORT, or several of them with commas between"
            raise ValueError(f"{without_password(url)!r} is not an address like {accepted}")
    return found
