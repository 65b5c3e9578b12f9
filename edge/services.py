"""What all requests and captures of an edge share: the bus, the store, and whether both can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import structlog
from pydantic import AliasChoices, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import AudioPublisher, AudioTrack, Bus, Storage
from bus.backoff import delays
from bus.requests import present
from bus.supervisor import Supervisor
from contract import State
from contract.webhook import Targets, read_networks, read_ports
from edge.capture.ownership import OwnershipRegistry
from edge.capture.pacing import ReadCoalescing, Ticker
from edge.origin import read_hosts, read_origins
from edge.proxy import read_addresses, read_path, read_prefix
from edge.rest.faults import FaultLog
from store.jobs import JobNotFound, JobStore, StoreError, StoreSettings, connect

log = structlog.get_logger()

_STALLED = 5.0
"""Seconds without progress of some job's audio after which no further captures begin."""


class Settings(BaseSettings):
    """How the edge listens."""

    model_config = SettingsConfigDict(env_prefix="EDGE_")

    host: str = Field("127.0.0.1", description="Address to listen on; `::` is every address, those of IPv4 too.")
    port: int = Field(8000, ge=0, le=65_535, description="Port of the page, REST and sockets; 0: a free one.")
    root_path: str = Field(
        "",
        description="Path prefix below which a reverse proxy serves the edge, such as `/steno`. A trusted proxy can "
        "also name it in `X-Forwarded-Prefix`.",
    )
    trusted_proxies: str = Field(
        "127.0.0.1,::1",
        validation_alias=AliasChoices("EDGE_TRUSTED_PROXIES", "FORWARDED_ALLOW_IPS", "trusted_proxies"),
        description="Addresses and networks, separated by commas, of the reverse proxies whose `X-Forwarded-For`, "
        "`-Proto`, `-Host` and `-Prefix` are followed; `*`: all.",
    )
    capture_url: str | None = Field(
        None,
        description="`wss://host:port`, and a path prefix where there is one, at which clients reach the capture "
        "socket, if not at our own address.",
    )
    hosts: str = Field(
        "",
        description="Names by which the server may be addressed besides IP addresses, `localhost`, the machine's own "
        "name and names without a dot: `steno.example.org`, `*.example.org`, or `*` for all, with commas between.",
    )
    origins: str = Field(
        "",
        description="Other sites whose pages may use the server, such as `https://app.example.org`, with commas "
        "between; `*`: all.",
    )
    reuse_port: bool = Field(False, description="Whether other edge processes may listen on the same port.")
    requires: str = Field(
        "vad,stt,summary", description="Kinds of workers without which the edge is not ready, separated by commas."
    )
    answer_within: float = Field(5.0, gt=0, description="Seconds to wait for the bus before a client is refused.")
    retry_after: int = Field(2, ge=1, description="Seconds that a refused client is asked to wait.")
    correct: bool = Field(
        True,
        description="Whether the transcripts of live jobs are corrected by a second pass, unless a job says otherwise.",
    )
    resume_window: float = Field(30.0, ge=0, description="Seconds that a job waits for a client whose line broke.")
    idle: float = Field(600.0, gt=0, description="Seconds without a message after which a connection ends.")
    coalesce: int = Field(100, ge=1, description="Captures from which on two frames are read at a time, 30 ms late.")
    connections: int = Field(2_000, ge=1, description="Captures at a time; further ones are asked to come later.")

    webhook_allow_private: bool = Field(
        False,
        validation_alias=AliasChoices("WEBHOOK_ALLOW_PRIVATE", "webhook_allow_private"),
        description="As of the webhook part: jobs with other webhooks are not created.",
    )
    webhook_ports: str = Field(
        "80,443,8443",
        validation_alias=AliasChoices("WEBHOOK_PORTS", "webhook_ports"),
        description="As of the webhook part.",
    )
    webhook_own_networks: str = Field(
        "",
        validation_alias=AliasChoices("WEBHOOK_OWN_NETWORKS", "webhook_own_networks"),
        description="As of the webhook part.",
    )

    @field_validator("webhook_ports")
    @classmethod
    def _webhook_ports(cls, ports: str) -> str:
        read_ports(ports)
        return ports

    @field_validator("webhook_own_networks")
    @classmethod
    def _webhook_networks(cls, networks: str) -> str:
        read_networks(networks)
        return networks

    @field_validator("capture_url")
    @classmethod
    def _origin(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)  # itself raises ValueError for what is no address at all
        plain = not (parts.query or parts.fragment or parts.username is not None)
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.port == 0 or not plain:
            raise ValueError(
                "ws:// or wss:// and a host are accepted, with a port and a path, such as wss://capture.example.org"
            )
        return f"{parts.scheme}://{parts.netloc}{read_path(parts.path)}"

    @field_validator("root_path")
    @classmethod
    def _prefix(cls, path: str) -> str:
        return read_prefix(path)

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, addresses: str) -> str:
        return read_addresses(addresses)

    @field_validator("hosts")
    @classmethod
    def _names(cls, hosts: str) -> str:
        return read_hosts(hosts)

    @field_validator("origins")
    @classmethod
    def _other_sites(cls, origins: str) -> str:
        return read_origins(origins)

    @field_validator("reuse_port")
    @classmethod
    def _known_port(cls, reuse: bool, info: ValidationInfo) -> bool:
        if reuse and info.data.get("port") == 0:
            raise ValueError("each process would take another port for 0: EDGE_PORT must be given")
        return reuse


class Services:
    """Shared by all requests of one edge process."""

    def __init__(self, bus: Bus, store: JobStore, settings: Settings, tasks: Supervisor) -> None:
        self.bus = bus
        self.store = store
        self.settings = settings
        self.tasks = tasks
        self.publisher: AudioPublisher | None = None
        self.faults = FaultLog()
        self.webhook_targets = Targets(
            settings.webhook_allow_private,
            read_ports(settings.webhook_ports),
            read_networks(settings.webhook_own_networks),
        )
        self.storage = Storage(bus.connection)
        self.owners = OwnershipRegistry(bus)
        self.ticker = Ticker()
        self.reads = ReadCoalescing(settings.coalesce)

    async def checks(self) -> dict[str, str]:
        """What the edge needs, each with "ok" or with what is wrong."""
        kinds = [kind.strip() for kind in self.settings.requires.split(",") if kind.strip()]
        store, present = await asyncio.gather(
            self._store_trouble(), asyncio.gather(*(self._present(kind) for kind in kinds))
        )
        being_set_up = "being set up" if self.publisher is None else None
        return {
            "bus": self.bus.connection.trouble or being_set_up or "ok",
            "storage": self.storage.trouble or "ok",
            "store": store or "ok",
            **{kind: "ok" if there else "no worker answers" for kind, there in zip(kinds, present, strict=True)},
        }

    def trouble(self, *, resuming: bool = False) -> str | None:
        """Why no capture can begin now, or `resuming` go on, in one sentence; None if it can."""
        if self.bus.connection.trouble or self.publisher is None:
            return self.bus.connection.trouble or "the bus is being set up"
        if resuming:  # it has its place, and what it holds is better stored late than never
            return None
        if trouble := self.storage.trouble or self.publisher.trouble(_STALLED):
            return trouble
        if self.owners.admitted >= self.settings.connections:
            return f"this server has {self.settings.connections} captures, as many as it takes"
        return None

    def unstored(self, track: AudioTrack) -> str | None:
        """Why a job's audio cannot be stored now, in one sentence; None if it can."""
        return self.storage.trouble or track.trouble(_STALLED)

    @property
    def silence(self) -> str:
        """Why a request to the bus may have had no answer in time."""
        return self.bus.connection.trouble or self.storage.trouble or "the bus does not answer"

    async def _store_trouble(self) -> str | None:
        try:
            await self.store.ping()
        except StoreError as exc:
            return str(exc)
        return None

    async def _present(self, kind: str) -> bool:
        return self.bus.connection.is_up and await present(self.bus, kind)

    def advance(self, job: str, state: State) -> None:
        """Write a job's state in the background: a store that is away must not hold up the audio."""
        self.tasks.start(self._advance(job, state))

    async def _advance(self, job: str, state: State) -> None:
        retry_in = delays(0.2, 10)
        while True:
            try:
                await self.store.advance(job, state)
                return
            except JobNotFound:
                return  # its record is written again when the job is finished
            except StoreError as exc:
                log.warning("state not written, trying again", job=job, state=state, reason=str(exc))
            except Exception:  # a record that cannot be read must not end the captures of other jobs
                log.exception("state not written", job=job, state=state)
                return
            await asyncio.sleep(next(retry_in))

    async def publish_audio(self) -> None:
        """Keep a publisher and the registry running, from when the bus is connected until this is cancelled."""
        await self.bus.connection.connected.wait()
        async with AudioPublisher(self.bus) as publisher, self.owners.running(publisher.client):
            self.publisher = publisher
            try:
                await asyncio.Event().wait()
            finally:
                self.publisher = None


@asynccontextmanager
async def services(bus: Bus, settings: Settings, store: StoreSettings) -> AsyncIterator[Services]:
    """Services for as long as the edge runs; the bus may still be away.

    What one of their background tasks raises ends the block.
    """
    async with connect(store.url, store.retention, unused=store.unused) as jobs, Supervisor() as tasks:
        shared = Services(bus, jobs, settings, tasks)
        for work in (shared.publish_audio(), shared.storage.watch(), shared.ticker.run(), shared.reads.run()):
            tasks.start(work)
        yield shared
