from __future__ import annotations

from typing import Any

import pytest

from bench.gpu.hold import MB, HoldError, hold


class Driver:
    """A card with so much free memory, none of it in pieces larger than `piece`."""

    def __init__(self, free: int, piece: int = 1 << 40, status: int = 0) -> None:
        self.free = free
        self._piece = piece
        self._status = status

    def __getattr__(self, name: str) -> Any:
        return lambda *_: self._status

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802 - the driver's name
        free._obj.value, total._obj.value = self.free, 1 << 40
        return 0

    def cuMemAlloc_v2(self, _pointer: Any, size: Any) -> int:  # noqa: N802
        if size.value > min(self.free, self._piece):
            return 2
        self.free -= size.value
        return 0


@pytest.mark.parametrize("piece", [1 << 40, 100 * MB])
def test_so_much_is_left(piece: int) -> None:
    driver = Driver(5_000 * MB + 300, piece)
    taken = hold(256 * MB, driver)
    assert 256 * MB <= driver.free < 257 * MB
    assert taken == 5_000 * MB + 300 - driver.free


def test_a_full_card_is_left_alone_and_a_broken_one_is_named() -> None:
    assert hold(256 * MB, Driver(100 * MB)) == 0
    with pytest.raises(HoldError, match="cuInit gives error 100"):
        hold(256 * MB, Driver(100 * MB, status=100))
