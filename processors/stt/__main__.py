"""The `stt` process: loads the speech model, then transcribes. With the argument `probe` it only says which model.

`python -m processors.stt probe` prints one JSON object: the model that would be loaded here, and on which device.
Nothing is loaded or downloaded; `folder` is null if the model is still to be downloaded.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import structlog

from bus import Bus, StartError, run
from bus.requests import announce
from bus.run import load as load_settings
from processors.stt.whisper.backend import gpu_fault, gpus, known_models
from processors.stt.whisper.cuda import NO_GPU, select_gpu
from processors.stt.whisper.engine import Engine
from processors.stt.whisper.models import (
    DEFAULT_MODEL,
    cached_model,
    choose_compute_type,
    choose_device,
    find_model,
    is_hub_id,
)
from processors.stt.worker import Settings, serve_utterances

log = structlog.get_logger()


async def main(bus: Bus, settings: Settings) -> None:
    """Load the model, then transcribe until the bus is stopping."""
    _ = settings.offered  # a bad value must stop the start before a model is loaded
    choose_gpu(settings)
    engine = await _load_first(bus, settings)
    if engine is not None:
        await announce(bus, "stt")
        await serve_utterances(bus, engine, settings, partial(load_engine, settings))


async def _load_first(bus: Bus, settings: Settings) -> Engine | None:
    """Load the worker's own model; None if the process is told to stop before that is done."""
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # at INFO it logs every utterance
    began = time.perf_counter()
    loader = ThreadPoolExecutor(1, thread_name_prefix="load")
    loading = asyncio.get_running_loop().run_in_executor(loader, load_engine, settings, settings.model)
    stop: asyncio.Future[bool] = asyncio.create_task(bus.stopping.wait())
    await asyncio.wait((loading, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    loader.shutdown(wait=False)
    if not loading.done():
        return None
    engine = loading.result()
    log.info(
        "speech model is ready",
        model=engine.model.name,
        hash=engine.model.hash,
        device=engine.device,
        compute_type=engine.compute_type,
        workers=engine.workers,
        batch_size=engine.batch_size,
        seconds=round(time.perf_counter() - began, 2),
    )
    return engine


def load_engine(settings: Settings, name: str) -> Engine:
    """Load a model as the settings say. Blocks for seconds; raises StartError."""
    return Engine(
        name,
        device=settings.device,
        compute_type=settings.compute_type,
        workers=settings.workers,
        threads=settings.threads,
        batch_size=settings.batch_size,
        beam_size=settings.beam_size,
        shortest_window=settings.shortest_window,
        context=settings.context,
    )


def choose_gpu(settings: Settings) -> None:
    """Use no other GPU than the one that the settings name, if they do; raises StartError if it is not there."""
    if settings.device_index is not None and settings.device != "cpu":
        select_gpu(settings.device_index, os.environ)
        if not gpus():
            raise StartError(f"STT_DEVICE_INDEX={settings.device_index}: {NO_GPU}; accepted: a number in nvidia-smi")


def run_process(main: Callable[[Bus, Settings], Coroutine[None, None, None]] = main) -> NoReturn:
    """Run the `stt` process until it is stopped or fails, and exit.

    An inference cannot be interrupted, and Python waits for its threads at exit. By then the utterances of a running
    inference have been given back, so that waiting would only delay the exit.
    """
    try:
        run("stt", main, Settings)
    except SystemExit as exc:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exc.code if isinstance(exc.code, int) else 1)


def probe(settings: Settings) -> dict[str, Any]:
    """Which model would be loaded, and on what; raises StartError like the start of a worker.

    `gpus`: how many there are; `fault`: why they cannot be used.
    """
    choose_gpu(settings)
    device = choose_device(settings.device)
    model = settings.model or DEFAULT_MODEL[device]
    return {
        "device": device,
        "compute_type": choose_compute_type(settings.compute_type, device),
        "gpus": gpus(),
        "fault": gpu_fault() if gpus() and settings.device == "auto" and device == "cpu" else None,
        "model": model,
        "folder": _folder(model),
    }


def _folder(model: str) -> str | None:
    folder = Path(model).expanduser()
    if model not in known_models() and ((folder / "model.bin").is_file() or not is_hub_id(model)):
        return str(find_model(model).absolute())
    cached = cached_model(model)
    return None if cached is None else str(cached)


def print_probe() -> int:
    """Print what `probe` returns, or why no model can be loaded; returns the exit status, 2 for bad settings."""
    try:
        found = probe(load_settings(Settings))
    except StartError as exc:
        found = {"error": str(exc)}
    sys.stdout.write(json.dumps(found) + "\n")
    return 2 if "error" in found else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["probe"]:
        sys.exit(print_probe())
    run_process()
