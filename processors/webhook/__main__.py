"""Posts each finished job that was created with a `webhook_url` to that address.

Delivery is at least once: a receiver may get the same job again, with the same `webhook-id`. With WEBHOOK_SECRET set,
deliveries are signed as the Standard Webhooks specification says. Any 2xx means that the job has arrived. Redirects are
not followed and the environment's proxies are not used, so that we connect only to addresses that `target.py` checked.
"""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Annotated

import httpx
import structlog
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import Bus, Retry, run, serve
from bus.requests import announce
from contract import Completed, ContractError, Message, Opened, Transcript, read_event
from contract.webhook import Targets, read_networks, read_ports
from processors.webhook import core, target

log = structlog.get_logger()

AT_ONCE = 128

_SENDING, _WAITING = 4, 8
"""Deliveries to one address and port that are under way, and that wait for those. Further ones come back later, so that
a slow receiver does not keep others waiting."""

_COME_BACK = 20.0
"""Seconds, and up to half as many more."""

_STEPS = 3
"""A delivery connects, sends and waits for the answer: it may take as many timeouts, however slowly bytes come."""


def _secret(value: SecretStr | None) -> SecretStr | None:
    if value is not None:
        core.signing_key(value.get_secret_value())
    return value


def _ports(text: str) -> str:
    read_ports(text)
    return text


def _networks(text: str) -> str:
    read_networks(text)
    return text


class Settings(BaseSettings):
    """How finished jobs are posted."""

    model_config = SettingsConfigDict(env_prefix="WEBHOOK_")

    secret: Annotated[SecretStr | None, AfterValidator(_secret)] = Field(
        None,
        min_length=1,
        description="Key that signs webhooks: `whsec_` and base64, or any other text; None: they are not signed.",
    )
    allow_private: bool = Field(False, description="Whether webhooks may go to addresses that are not public.")
    ports: Annotated[str, AfterValidator(_ports)] = Field(
        "80,443,8443", description="Ports to which webhooks may go, with commas between; `*`: all."
    )
    own_networks: Annotated[str, AfterValidator(_networks)] = Field(
        "",
        description="Addresses and networks to which webhooks never go, with commas between, besides those from which "
        "clouds tell their machines secrets.",
    )
    timeout: float = Field(10.0, gt=0, description="Seconds to connect, to send, and to wait for an answer.")
    attempts: int = Field(20, ge=1, description="Failures, over about six minutes, after which a delivery is given up.")

    @property
    def targets(self) -> Targets:
        """Where webhooks may go."""
        return Targets(self.allow_private, read_ports(self.ports), read_networks(self.own_networks))


class Lanes:
    """Limits the deliveries to each receiver."""

    def __init__(self) -> None:
        self._lanes: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def lane(self, receiver: str) -> AsyncIterator[None]:
        """Wait for a place at a receiver; raises Retry where too many wait already."""
        if self._users[receiver] >= _SENDING + _WAITING:
            raise Retry(_COME_BACK * random.uniform(1, 1.5))  # noqa: S311
        self._users[receiver] += 1
        try:
            async with self._lanes.setdefault(receiver, asyncio.Semaphore(_SENDING)):
                yield
        finally:
            self._users[receiver] -= 1
            if not self._users[receiver]:
                del self._users[receiver], self._lanes[receiver]


class Undelivered(Exception):
    """The receiver cannot be reached, or cannot accept the delivery now."""


async def main(bus: Bus, settings: Settings) -> None:
    """Deliver finished jobs until the bus is stopping."""
    lanes = Lanes()

    async def failed(_completed: Completed, _reason: str) -> Sequence[Message]:
        return []  # the dead letter says it all

    async def handle(completed: Completed) -> Sequence[Message]:
        await notify(bus, settings, lanes, completed)
        return []

    await announce(bus, "webhook")
    await serve(
        bus,
        Completed,
        handle,
        durable="webhook",
        at_once=AT_ONCE,
        attempts=settings.attempts,
        failed=failed,
    )


async def notify(bus: Bus, settings: Settings, lanes: Lanes, completed: Completed) -> None:
    """Deliver one job, if it has a `webhook_url`.

    Raises ContractError if another attempt cannot help, Retry if the receiver says when to try again, else Undelivered.
    """
    opened = await bus.last(Opened, Opened.pattern(completed.job))
    if opened is None or (options := opened.value.options).webhook_url is None:
        return
    url = target.parse(options.webhook_url)
    addresses = await _addresses(url, settings)
    async with lanes.lane(f"{addresses[0]} {url.port}"):
        body = core.encode(core.job_completed(options, completed, await _events(bus, completed.job)))
        secret = settings.secret.get_secret_value() if settings.secret else None
        headers = core.headers(completed.job, body, secret, datetime.now(UTC))
        answer = await _post(url, addresses, body, headers, settings)
    _check(answer, target.origin(url))
    log.info("webhook delivered", job=completed.job, to=target.origin(url), status=answer.status_code)


async def _events(bus: Bus, job: str) -> list[Message]:
    stored = await bus.history("EVENTS", f"events.{job}.>")
    return [event for raw in stored if (event := read_event(raw.subject, raw.data, _unreadable))]


def _unreadable(subject: str, error: ContractError) -> Message | None:
    log.warning("event cannot be read", subject=subject, reason=str(error))
    return Transcript.unreadable(subject, str(error))


@cache
def _tls() -> ssl.SSLContext:
    try:
        return httpx.create_ssl_context()
    except OSError as exc:
        named = ", ".join(name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE") if os.environ.get(name))
        raise Undelivered(f"TLS cannot be set up ({named}): {exc.strerror or exc}") from exc


async def _addresses(url: httpx.URL, settings: Settings) -> list[str]:
    try:
        async with asyncio.timeout(settings.timeout):
            return await target.addresses(url, settings.targets)
    except OSError as exc:  # TimeoutError is one
        raise Undelivered(f"no answer from {target.origin(url)}: {str(exc) or type(exc).__name__}") from exc


async def _post(
    url: httpx.URL, addresses: list[str], body: bytes, headers: dict[str, str], settings: Settings
) -> httpx.Response:
    """Post to the first address that accepts a connection. The body of the answer is not read."""
    try:
        async with asyncio.timeout(_STEPS * settings.timeout):
            # Only where it is needed: a file of certificates that is missing must not keep others from being told.
            tls = _tls() if url.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            # A client for each delivery: a pool finds connections by address, so two host names would share one.
            async with httpx.AsyncClient(verify=tls, trust_env=False, timeout=settings.timeout) as client:
                for address in addresses[:-1]:
                    try:
                        return await _send(client, url, address, body, headers)
                    except (httpx.ConnectError, httpx.ConnectTimeout):
                        continue
                return await _send(client, url, addresses[-1], body, headers)
    except (httpx.TransportError, OSError) as exc:  # TimeoutError is an OSError
        raise Undelivered(f"no answer from {target.origin(url)}: {str(exc) or type(exc).__name__}") from exc


async def _send(
    client: httpx.AsyncClient, url: httpx.URL, address: str, body: bytes, headers: dict[str, str]
) -> httpx.Response:
    request = client.build_request(
        "POST",
        url.copy_with(host=address),
        content=body,
        headers=headers | {"Host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": url.raw_host.decode("ascii")},  # the certificate must be for this name
    )
    response = await client.send(request, stream=True)
    await response.aclose()
    return response


def _check(answer: httpx.Response, origin: str) -> None:
    """Return if the receiver has accepted the delivery; raises what `notify` does."""
    if answer.is_success:
        return
    status = answer.status_code
    if not core.is_temporary(status):
        hint = ": redirects are not followed" if answer.is_redirect else ""
        raise ContractError(f"{origin} refused the webhook with {status}{hint}")
    if (wait := core.seconds_to_wait(answer.headers.get("Retry-After"), datetime.now(UTC))) is not None:
        log.info("receiver asks to wait", to=origin, status=status, seconds=wait)
        raise Retry(wait)
    raise Undelivered(f"{origin} answered {status}")


if __name__ == "__main__":
    run("webhook", main, Settings)
