"""`python -m processors.stt.probe`: which speech model would be taken here, and on what, as one JSON object.

Nothing is loaded and nothing is downloaded. `folder` is null where the model is still to be downloaded.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from bus import StartError
from bus.run import load
from processors.stt.__main__ import Settings
from processors.stt.models import DEFAULT_MODEL, choose_compute_type, choose_device, find_model, is_hub_id
from processors.stt.whisper import download, gpus, known_models


def probe(settings: Settings) -> dict[str, Any]:
    """Look; raises StartError as the worker would at its start."""
    device = choose_device(settings.device)
    model = settings.model or DEFAULT_MODEL[device]
    return {
        "device": device,
        "compute_type": choose_compute_type(settings.compute_type, device),
        "gpus": gpus(),
        "model": model,
        "folder": _folder(model),
    }


def _folder(model: str) -> str | None:
    folder = Path(model).expanduser()
    if model not in known_models() and ((folder / "model.bin").is_file() or not is_hub_id(model)):
        return str(find_model(model).absolute())
    try:
        folder = download(model, cached=True)
    except (OSError, ValueError):
        return None
    return str(folder) if (folder / "model.bin").is_file() else None


def main() -> int:
    """Print what was found, or why no model can be taken; exit status 0, or 2 for bad settings."""
    try:
        found = probe(load(Settings))
    except StartError as exc:
        found = {"error": str(exc)}
    sys.stdout.write(json.dumps(found) + "\n")
    return 2 if "error" in found else 0


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
