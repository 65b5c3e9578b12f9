"""Takes each completed job that was created with a `webhook_url`, and posts what came of it there.

At least once: a receiver may get the same job again, with the same `Idempotency-Key`, which is the job's id. With
WEBHOOK_SECRET set, the header `Stenobus-Signature: sha256=<hex>` is the HMAC-SHA256 of the body as it was sent. Any 2xx
means that it arrived. Redirects are not followed, and the environment's proxies are not used: whom we connect to is
whom we have checked (`target.py` beside this file).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime

import httpx
import structlog
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import Bus, Retry, run, serve
from contract import Completed, ContractError, Message, Opened, parse_event
from processors.webhook import core, target

log = structlog.get_logger()

AT_ONCE = 16

_STEPS = 3
"""A delivery connects, sends and waits for an answer. A receiver that does each by the byte is cut off all the same."""


class Settings(BaseSettings):
    """How finished jobs are posted."""

    model_config = SettingsConfigDict(env_prefix="WEBHOOK_")

    secret: SecretStr | None = Field(None, min_length=1, description="Signs what is sent; None: not signed.")
    allow_private: bool = Field(False, description="Whether hosts of our own network may be called.")
    timeout: float = Field(10.0, gt=0, description="Seconds to connect, to send, and to wait for an answer.")
    attempts: int = Field(20, ge=1, description="Failures, over some six minutes, after which a receiver is given up.")


class Undelivered(Exception):
    """The receiver could not be reached, or says that it cannot take it now."""


async def main(bus: Bus, settings: Settings) -> None:
    """Deliver finished jobs until the bus is stopping."""
    tls = httpx.create_ssl_context()

    async def handle(completed: Completed) -> Sequence[Message]:
        await notify(bus, settings, tls, completed)
        return []

    await bus.announce("webhook")
    await serve(
        bus,
        Completed,
        handle,
        durable="webhook",
        at_once=AT_ONCE,
        attempts=settings.attempts,
        failed=lambda _completed, _reason: [],  # the dead letter is all that there is to say
    )


async def notify(bus: Bus, settings: Settings, tls: ssl.SSLContext, completed: Completed) -> None:
    """Deliver one job, if somebody wants to be told.

    Raises ContractError where another attempt would be of no use, Retry where the receiver asks for time, Undelivered.
    """
    opened = await bus.last(Opened, Opened.pattern(completed.job))
    if opened is None or (options := opened.value.options).webhook_url is None:
        return
    url = target.parse(options.webhook_url)
    body = core.encode(core.payload(options, completed, await _events(bus, completed.job)))
    answer = await _post(url, body, _headers(completed.job, settings.secret, body), tls, settings)
    _judge(answer, target.origin(url))
    log.info("webhook delivered", job=completed.job, to=target.origin(url), status=answer.status_code)


async def _events(bus: Bus, job: str) -> list[Message]:
    events = []
    for raw in await bus.history("EVENTS", f"events.{job}.>"):
        try:
            events.append(parse_event(raw.subject, raw.data))
        except ContractError as exc:
            log.warning("event cannot be read", subject=raw.subject, seq=raw.seq, reason=str(exc))
    return [event for event in events if event is not None]


def _headers(job: str, secret: SecretStr | None, body: bytes) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": "stenobus", "Idempotency-Key": job}
    if secret is not None:
        headers["Stenobus-Signature"] = core.signature(secret.get_secret_value(), body)
    return headers


async def _post(
    url: httpx.URL, body: bytes, headers: dict[str, str], tls: ssl.SSLContext, settings: Settings
) -> httpx.Response:
    """Send to the first address that accepts a connection. The body of the answer is not read."""
    try:
        async with asyncio.timeout(_STEPS * settings.timeout):
            addresses = await target.addresses(url, allow_private=settings.allow_private)
            # A client for each: a pool knows connections by address, and would share one between two names.
            async with httpx.AsyncClient(verify=tls, trust_env=False, timeout=settings.timeout) as client:
                for address in addresses[:-1]:
                    try:
                        return await _send(client, url, address, body, headers)
                    except (httpx.ConnectError, httpx.ConnectTimeout):
                        continue
                return await _send(client, url, addresses[-1], body, headers)
    except (httpx.TransportError, OSError) as exc:  # TimeoutError is one of the latter
        raise Undelivered(f"no answer from {target.origin(url)}: {str(exc) or type(exc).__name__}") from exc


async def _send(
    client: httpx.AsyncClient, url: httpx.URL, address: str, body: bytes, headers: dict[str, str]
) -> httpx.Response:
    request = client.build_request(
        "POST",
        url.copy_with(host=address),
        content=body,
        headers=headers | {"Host": url.netloc.decode("ascii")},
        extensions={"sni_hostname": url.raw_host.decode("ascii")},  # also what the certificate must be for
    )
    response = await client.send(request, stream=True)
    await response.aclose()
    return response


def _judge(answer: httpx.Response, origin: str) -> None:
    if answer.is_success:
        return
    status = answer.status_code
    if not core.may_pass(status):
        hint = ": redirects are not followed" if answer.is_redirect else ""
        raise ContractError(f"{origin} refused the webhook with {status}{hint}")
    if (seconds := core.wait(answer.headers.get("Retry-After"), datetime.now(UTC))) is not None:
        log.info("webhook waits as it was asked to", to=origin, status=status, seconds=seconds)
        raise Retry(seconds)
    raise Undelivered(f"{origin} answered {status}")


if __name__ == "__main__":
    run("webhook", main, Settings)
