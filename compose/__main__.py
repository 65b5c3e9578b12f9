"""`python -m compose`: the whole system on one machine, each part its own process."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import signal
import sys
from pathlib import Path

from compose import gpus
from compose.disk import keep_storing
from compose.ports import free_port, refused
from compose.servers import StartError, locked, nats_server, redis_server
from compose.system import CANNOT_START, Part, discover, processes, run, wait_ready

ROOT = Path(__file__).absolute().parents[1]
"""The parts are the neighbours of this folder."""

MOST_WORKERS = 64
"""More edge processes than that on one machine are certainly a typing error."""


def main() -> int:
    """Run until Ctrl-C or SIGTERM; returns the exit status: 0, or 2 when something cannot start."""
    args = _arguments()
    try:
        port = _port(args.host, args.port)
        edges = {"EDGE_HOST": args.host, "EDGE_PORT": str(port)}
        if args.workers > 1:
            edges["EDGE_REUSE_PORT"] = "1"
        with locked(args.data) as lock:
            asyncio.run(_until_stopped(edges, args.workers, args.data, lock))
    except StartError as exc:
        say(str(exc))
        return CANNOT_START
    except OSError as exc:
        say(f"cannot start: {exc}")
        return CANNOT_START
    return 0


def say(text: str) -> None:
    """Print for a person; stdout is only for the line `ready`."""
    with contextlib.suppress(OSError):  # stderr may be a file on a full disk
        print(f"compose: {text}", file=sys.stderr, flush=True)


async def _until_stopped(edges: dict[str, str], workers: int, data: Path, lock: int) -> None:
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, signals.put_nowait, number)
    system = asyncio.create_task(_system(edges, workers, data, lock))
    stopped = asyncio.create_task(signals.get())
    await asyncio.wait({system, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if stopped.done():
        say(f"stopping ({stopped.result().name})")
    system.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await system


async def _system(edges: dict[str, str], workers: int, data: Path, lock: int) -> None:
    logs = data / "logs"
    logs.mkdir(exist_ok=True)
    nats = nats_server(data / "nats", log=logs / "nats-server.log", keep_open=[lock])
    redis = redis_server(data / "redis", log=logs / "redis-server.log", keep_open=[lock])
    env = {
        **os.environ,
        "NATS_URL": nats.url,
        "STORE_URL": redis.url,
        "CUDA_CACHE_PATH": os.environ.get("CUDA_CACHE_PATH") or str((data / "cuda").absolute()),
        **edges,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    named = processes(discover(ROOT), workers, await gpus.count(env))
    parts = [Part(name, logs / f"{name}.log", {**env, **one.env}, one.module) for name, one in named.items()]
    host, port = edges["EDGE_HOST"], int(edges["EDGE_PORT"])

    async def ready() -> None:
        await wait_ready(host, port, say)
        print(f"ready http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)

    say(f"starting {', '.join(part.name for part in parts)}; bus {nats.url}, store {redis.url}, logs in {logs}")

    async def watch() -> None:
        await keep_storing(nats, data, host, port, say)

    await run([nats, redis], parts, ready=ready, watch=watch, say=say)


def _port(host: str, port: int) -> int:
    """Return a port that the edge can listen on: `port`, or a free one for 0."""
    if port and (refusal := refused(host, port)):
        hint = "; choose another with --port (0 takes a free one)" if refusal.errno == errno.EADDRINUSE else ""
        raise StartError(f"cannot listen on {host} port {port}: {refusal.strerror}{hint}")
    try:
        return port or free_port(host)
    except OSError as exc:
        raise StartError(f"cannot listen on {host}: {exc.strerror}") from exc


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m compose",
        description="Runs the whole system on this machine until Ctrl-C; prints `ready URL` once it is of use.",
        epilog="Settings of the parts are environment variables, which they inherit: STT_MODEL, OLLAMA_HOST, ...",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port_number, default=8000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="edge processes, on the same port (default: %(default)s)",
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of all data (default: ./%(default)s)")
    return parser.parse_args()


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of edge processes, 1 to {MOST_WORKERS}")
    return int(text)


def _port_number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number, 0 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
