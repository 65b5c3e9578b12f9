"""Another program on the same GPU: takes its memory and keeps it until its stdin is closed.

`python -m bench.gpu.hold MEGABYTES` leaves so many free. It needs nothing but the driver.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from typing import Any

MB = 1 << 20


class HoldError(Exception):
    """The driver refuses; the message says what."""


def hold(left: int, driver: Any = None) -> int:
    """Take memory of the first GPU until about `left` bytes are free; returns how many. Raises HoldError, OSError.

    driver: the library libcuda.
    """
    cuda = driver or ctypes.CDLL("libcuda.so.1")

    def call(name: str, *arguments: Any) -> None:
        if (status := getattr(cuda, name)(*arguments)) != 0:
            raise HoldError(f"{name} gives error {status}")

    device, context = ctypes.c_int(), ctypes.c_void_p()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
    call("cuCtxSetCurrent", context)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    taken, most = 0, 1_024 * MB
    while most >= MB:
        call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        size = min(most, free.value - left)
        if size < MB:
            break
        pointer = ctypes.c_uint64()
        if cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(size)) == 0:
            taken += size
        else:
            most //= 2  # there is no piece of this size
    return taken


def main() -> int:
    """Hold it until stdin is closed."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu.hold", description=__doc__.partition("\n")[0])
    parser.add_argument("left", type=int, metavar="MEGABYTES")
    taken = hold(parser.parse_args().left * MB)
    print(taken // MB, flush=True)
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
