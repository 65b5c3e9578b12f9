"""What CTranslate2 needs of a machine to run on a GPU, and what its errors there mean.

The texts are those of CTranslate2 4.8 (src/cuda/utils.h, src/cuda/cublas_stub.cc), of the CUDA runtime and of Thrust,
which it is linked with.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path

from bus import StartError

CUBLAS = "libcublas.so.12"
"""The library that CTranslate2 opens at its first matrix product. It needs no cuDNN since 4.6.3."""

NO_GPU = "there is no usable CUDA device"
_NO_CUBLAS = "cuBLAS for CUDA 12 is missing or cannot be loaded: pip install 'stenobus[cuda]'"
_OLD_DRIVER = "the driver of the GPU is too old: install R570 or newer"
_OLD_CARD = "the GPU is too old for CTranslate2, which needs compute capability 5.3: set STT_DEVICE=cpu"
NO_MEMORY = "too little memory of the GPU is free: end what else uses it, or choose a smaller STT_MODEL"

_STARTED = "stenobus-has-started"

OUT_OF_MEMORY = (
    "out of memory",  # CUDA_CHECK and Thrust: cudaErrorMemoryAllocation
    # Thrust after that: it finds the error that the allocation left behind, and reports it as another.
    "cudaErrorInvalidDevice",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # cublasCreate had no memory for its workspace
    "failed to allocated memory",  # the host's
)
"""What errors say that a smaller batch, or waiting, can mend."""

STICKY = (
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "unspecified launch failure",
    "device-side assert triggered",
    "misaligned address",
    "hardware stack error",
    "invalid program counter",
    "operation not supported on global/shared address space",
    "the launch timed out and was terminated",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "context is destroyed",
    "no CUDA-capable device is detected",
    "CUDA-capable device(s) is/are busy or unavailable",
    "CUBLAS_STATUS_EXECUTION_FAILED",
    "CUBLAS_STATUS_MAPPING_ERROR",
)
"""What errors say after which every further call of the process fails. Source: the comments of cudaError_t in
driver_types.h, "the process must be terminated and relaunched"."""

_EXPLANATIONS = (
    ("compiled with an unsupported toolchain", _OLD_DRIVER),
    ("CUDA driver version is insufficient", _OLD_DRIVER),
    ("no kernel image is available", _OLD_CARD),
    (CUBLAS, _NO_CUBLAS),
    *((text, NO_MEMORY) for text in OUT_OF_MEMORY),
)


def is_out_of_memory(error: str) -> bool:
    """Whether a smaller batch, or waiting, can mend this error of the model."""
    return any(text in error for text in OUT_OF_MEMORY)


def is_sticky(error: str) -> bool:
    """Whether every further call of this process would fail after this error of the model."""
    return any(text in error for text in STICKY)


def explain(error: str) -> str:
    """An error of the model as a clause that says what is wrong and, after a colon, what helps; else its first line."""
    return next((meant for text, meant in _EXPLANATIONS if text in error), error.partition("\n")[0])


def load_cublas(path: Sequence[str] | None = None) -> str | None:
    """Load cuBLAS, from its Python package or else from the system, so that CTranslate2 finds it loaded.

    Returns None, or why it is not. path: where Python packages are looked for, `sys.path` by default.
    """
    folders = (Path(entry, "nvidia", "cublas", "lib") for entry in (sys.path if path is None else path))
    folder = next((folder for folder in folders if (folder / CUBLAS).is_file()), None)
    # libcublas needs libcublasLt, which is beside it.
    libraries = [folder / "libcublasLt.so.12", folder / CUBLAS] if folder else [CUBLAS]
    try:
        for library in libraries:
            ctypes.CDLL(str(library))
    except OSError:
        return _NO_CUBLAS
    return None


def select_gpu(index: int, environment: MutableMapping[str, str]) -> None:
    """Let this process see only one GPU; to be called before it uses any. Raises StartError.

    index: as nvidia-smi numbers them, or among those that CUDA_VISIBLE_DEVICES names. With a single GPU in sight, what
    was encoded cannot be on another one than the model.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    visible = named.split(",") if named else None
    if visible and index >= len(visible):
        accepted = f"0 to {len(visible) - 1}"
        raise StartError(f"STT_DEVICE_INDEX={index}: CUDA_VISIBLE_DEVICES is {named!r}; accepted here: {accepted}")
    environment.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi; CUDA's own order is by speed
    environment["CUDA_VISIBLE_DEVICES"] = visible[index] if visible else str(index)


def kernel_cache(environment: Mapping[str, str]) -> Path:
    """Where the driver keeps kernels that it has compiled."""
    folder = Path(environment.get("CUDA_CACHE_PATH") or "~/.nv/ComputeCache")
    try:
        return folder.expanduser()
    except RuntimeError:  # a user without a home has none
        return Path(os.devnull) / "kernels"


def has_started(kernels: Path) -> bool:
    """Whether a worker with this folder of kernels has once called everything that it calls."""
    return (kernels / _STARTED).exists()


def note_start(kernels: Path) -> None:
    """From now on `has_started`. The folder itself tells nothing: the driver also keeps single kernels there."""
    with suppress(OSError):
        kernels.mkdir(parents=True, exist_ok=True)
        (kernels / _STARTED).touch()
