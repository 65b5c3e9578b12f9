"""What runs elsewhere, such as a server, its bus and Ollama; and the microphone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from audio import AudioError
from client.api import explain
from client.commands.doctor.report import Check, fail, ok, warn
from client.commands.up import is_listening
from client.errors import UnreachableError
from client.route import http_options
from client.session.microphone import choose, devices
from contract.address import without_password

_TIMEOUT = 5.0
_OLLAMA = "http://127.0.0.1:11434"
_OLLAMA_PORT = 11434
_FIXES = {"storage": "make room on the disk of its bus; then restart nats-server, which `stenobus up` does by itself"}


async def server(url: str, *, needed: bool) -> list[Check]:
    """Whether a server answers, and what it lacks. `needed`: somebody named it, so it should answer."""
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT, **http_options(url)) as http:
            response = await http.get(f"{url}/readyz")
    except (httpx.TransportError, UnreachableError) as exc:
        found = _why_not(url, exc)
        if needed:
            return [fail("server", found, "start it, or name another with --server")]
        return [warn("server", found, "start one here: stenobus up")]
    try:
        checks = response.json()["checks"]
        return ready(url, checks)
    except (ValueError, KeyError, TypeError, AttributeError):
        return [fail("server", f"{url} answers, but not like a Stenobus server", "name another with --server")]


def ready(url: str, checks: Mapping[str, Any]) -> list[Check]:
    """Read the checks of `GET /readyz`: each is "ok", or what is wrong."""
    wrong = {name: str(state) for name, state in checks.items() if state != "ok"}
    if not wrong:
        return [ok("server", f"{url} is ready: {', '.join(checks)}")]
    log = "look into its log: `stenobus up` shows at its start where that is"
    return [fail(f"server: {name}", f"{url}: {state}", _FIXES.get(name, log)) for name, state in wrong.items()]


def bus(url: str) -> Check:
    """Whether the bus can be reached from here, as `stenobus tail` and other programs need."""
    shown = without_password(url)
    try:
        listening = is_listening(url, _TIMEOUT)
    except ValueError as exc:
        return warn("bus", f"{shown} is no address: {exc}", "set NATS_URL to nats://HOST:PORT")
    if listening:
        return ok("bus", f"{shown} can be reached")
    return warn("bus", f"nobody listens at {shown}", "start a server, or name its bus with NATS_URL")


async def ollama(host: str, model: str) -> Check:
    """Whether Ollama answers and has the model for summaries. host: as in OLLAMA_HOST."""
    try:
        url = ollama_url(host)
        async with httpx.AsyncClient(timeout=_TIMEOUT, **http_options(url)) as http:
            response = await http.get(f"{url}/api/tags")
    except (httpx.TransportError, UnreachableError) as exc:
        fix = "https://ollama.com; without it summaries are extractive"
        return warn("ollama", _why_not(url, exc), fix)
    except (httpx.InvalidURL, ValueError) as exc:
        return warn("ollama", f"OLLAMA_HOST={host} is no address: {exc}", "set OLLAMA_HOST to HOST or http://HOST:PORT")
    try:
        names = [str(entry["name"]) for entry in response.json()["models"]]
    except (ValueError, KeyError, TypeError):
        return warn("ollama", f"{url} does not answer like Ollama", "set OLLAMA_HOST")
    if has_model(names, model):
        return ok("ollama", f"{url} has {model}")
    return warn("ollama", f"{url} does not have {model}", f"ollama pull {model}")


def _why_not(url: str, exc: Exception) -> str:
    return str(exc) if isinstance(exc, UnreachableError) else f"cannot reach {url}: {explain(exc)}"


def has_model(names: list[str], model: str) -> bool:
    """Whether a model is among those that Ollama lists; a name without a tag means its `latest`."""
    return (model if ":" in model.rpartition("/")[2] else f"{model}:latest") in names


def ollama_url(host: str) -> str:
    """The address that OLLAMA_HOST means, which may be a host or a port alone, as Ollama reads it."""
    host = host.strip().rstrip("/")
    if not host:
        return _OLLAMA
    parts = urlsplit(host if "://" in host else f"http://{host}")
    name = parts.hostname or "127.0.0.1"
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104 - an address to listen on, not to connect to
    implied = {"http": 80, "https": 443}.get(parts.scheme, _OLLAMA_PORT) if "://" in host else _OLLAMA_PORT
    return f"{parts.scheme}://{f'[{name}]' if ':' in name else name}:{parts.port or implied}{parts.path}"


def microphone() -> Check:
    """Whether `stenobus stream --mic` would find a microphone."""
    try:
        return ok("microphone", choose(devices(), None).name)
    except AudioError as exc:
        what, _, how = str(exc).partition(": ")
        return warn("microphone", what, how or "plug one in; files need none")
