"""What a GPU needs and what its errors mean, as far as a machine without one can tell."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import ctranslate2
import pytest
from structlog.testing import capture_logs

from bus import StartError
from processors.stt.whisper import backend, cuda
from processors.stt.whisper.models import choose_device

LIBRARY = next(Path(ctranslate2.__file__).parents[1].glob("ctranslate2.libs/libctranslate2*.so*"), None)

NO_CUBLAS = "cuBLAS for CUDA 12 is missing or cannot be loaded: pip install 'stenobus[cuda]'"
OLD_DRIVER = "the driver of the GPU is too old: install R570 or newer"


@pytest.mark.skipif(LIBRARY is None, reason="this CTranslate2 has no CUDA in it")
def test_the_texts_of_errors_are_those_of_the_library() -> None:
    assert LIBRARY is not None
    library = LIBRARY.read_bytes()
    texts = [*cuda.OUT_OF_MEMORY, *cuda.STICKY, *(text for text, _ in cuda._EXPLANATIONS)]
    assert [text for text in texts if text.encode() not in library] == []


@pytest.mark.parametrize(
    ("error", "is_memory", "is_sticky"),
    [
        ("CUDA failed with error out of memory", True, False),
        ("parallel_for failed: cudaErrorMemoryAllocation: out of memory", True, False),
        ("parallel_for failed: cudaErrorInvalidDevice: invalid device ordinal", True, False),
        ("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED", True, False),
        ("cuBLAS failed with status CUBLAS_STATUS_NOT_INITIALIZED", True, False),
        ("CUDA failed with error an illegal memory access was encountered", False, True),
        ("parallel_for failed: cudaErrorLaunchFailure: unspecified launch failure", False, True),
        ("cuBLAS failed with status CUBLAS_STATUS_EXECUTION_FAILED", False, True),
        ("cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED", False, False),
        ("CUDA failed with error invalid argument", False, False),
        ("Invalid input features shape: expected an input with shape (1, 80, 3000)", False, False),
    ],
)
def test_what_can_be_mended_and_what_cannot(error: str, is_memory: bool, is_sticky: bool) -> None:
    assert (cuda.is_out_of_memory(error), cuda.is_sticky(error)) == (is_memory, is_sticky)


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        ("Library libcublas.so.12 is not found or cannot be loaded", NO_CUBLAS),
        (
            "parallel_for failed: cudaErrorUnsupportedPtxVersion: the provided PTX was compiled with an unsupported "
            "toolchain.",
            OLD_DRIVER,
        ),
        ("CUDA failed with error CUDA driver version is insufficient for CUDA runtime version", OLD_DRIVER),
        ("CUDA failed with error out of memory", cuda.NO_MEMORY),
        ("CUDA failed with error invalid argument\n  somewhere", "CUDA failed with error invalid argument"),
    ],
)
def test_errors_are_explained_in_one_sentence(error: str, meant: str) -> None:
    assert cuda.explain(error) == meant


def test_cublas_is_loaded_from_its_package(tmp_path: Path) -> None:
    """In a process of its own, with other libraries in its place: their code is loaded, and by these paths."""
    folder = tmp_path / "nvidia/cublas/lib"
    folder.mkdir(parents=True)
    spec = importlib.util.find_spec("tokenizers.tokenizers")
    assert spec is not None
    assert spec.origin is not None
    for name in ("libcublas.so.12", "libcublasLt.so.12"):
        (folder / name).write_bytes(Path(spec.origin).read_bytes())
    code = f"""
from processors.stt.whisper.cuda import load_cublas
assert load_cublas(["/nowhere", {str(tmp_path)!r}]) is None
print(open("/proc/self/maps").read())
"""
    maps = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert all(str(folder / name) in maps for name in ("libcublas.so.12", "libcublasLt.so.12"))


def test_cublas_that_is_missing_or_broken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "nvidia/cublas/lib"
    folder.mkdir(parents=True)
    (folder / "libcublas.so.12").write_bytes(b"half a download")
    assert cuda.load_cublas([str(tmp_path)]) == NO_CUBLAS
    asked: list[str] = []

    def missing(name: str) -> None:
        asked.append(name)
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert cuda.load_cublas([]) == NO_CUBLAS
    assert asked == ["libcublas.so.12"], "what the system has counts too"


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which the driver shows a GPU that cannot be used; gives where the driver would keep kernels."""
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setenv("CUDA_CACHE_PATH", str(tmp_path / "data" / "cuda"))
    cuda.note_start(tmp_path / "data" / "cuda")
    return tmp_path / "data" / "cuda"


def test_a_start_that_may_compile_kernels_says_so_and_keeps_them(
    one_gpu: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.stt.whisper.models.gpu_fault", lambda: None)
    shutil.rmtree(one_gpu.parent)
    with capture_logs() as logs:
        assert choose_device("auto") == "cuda"
    assert [(one["log_level"], one["kept_in"]) for one in logs] == [("info", str(one_gpu))]
    assert one_gpu.is_dir()
    (one_gpu / "index").touch()  # a single kernel
    assert not cuda.has_started(one_gpu)
    cuda.note_start(one_gpu)
    with capture_logs() as logs:
        assert choose_device("auto") == "cuda"
    assert logs == []


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize("fault", [NO_CUBLAS, OLD_DRIVER])
def test_auto_falls_back_to_the_cpu_and_cuda_is_refused(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(cuda, "load_cublas", lambda: fault)
    with capture_logs() as logs:
        assert choose_device("auto") == "cpu"
    assert [(one["event"], one["reason"]) for one in logs] == [("the CPU is used in place of the GPU", fault)]
    with pytest.raises(StartError) as caught:
        choose_device("cuda")
    assert str(caught.value) == f"STT_DEVICE='cuda': {fault}; accepted here: auto, cpu"


@pytest.mark.usefixtures("one_gpu")
def test_a_gpu_that_runs_no_kernel_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real library, which finds no driver: what it says is what it says of one that is too old."""
    if backend.gpu_fault() is None:
        pytest.skip("there is a GPU here, and it works")
    monkeypatch.setattr(cuda, "load_cublas", lambda: None)
    assert backend.gpu_fault() == OLD_DRIVER


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_without_free_memory_stops_the_start(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr("processors.stt.whisper.models.gpu_fault", lambda: cuda.NO_MEMORY)
    with pytest.raises(StartError, match="too little memory of the GPU is free"):
        choose_device(device)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("visible", "index", "chosen"), [(None, 1, "1"), ("2,3", 1, "3"), ("GPU-8f,GPU-9c", 0, "GPU-8f")]
)
def test_one_gpu_is_selected(visible: str | None, index: int, chosen: str) -> None:
    environment = {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
    cuda.select_gpu(index, environment)
    assert environment == {"CUDA_VISIBLE_DEVICES": chosen, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def test_a_gpu_that_is_not_visible_is_refused() -> None:
    with pytest.raises(StartError, match=r"^STT_DEVICE_INDEX=2: CUDA_VISIBLE_DEVICES is '4,5'; accepted here: 0 to 1$"):
        cuda.select_gpu(2, {"CUDA_VISIBLE_DEVICES": "4,5"})
