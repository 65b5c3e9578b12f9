from __future__ import annotations

import os
from pathlib import Path

import pytest

from compose.lock import locked
from compose.servers import StartError


def test_a_folder_has_one_holder_at_a_time(tmp_path: Path) -> None:
    data = tmp_path / "new" / "my data"
    held = rf"my data is in use .* \(process {os.getpid()}\b"
    with locked(data), pytest.raises(StartError, match=held), locked(data):
        pass
    with locked(data):
        assert data.is_dir()


def test_the_lock_lives_as_long_as_a_copy_of_its_descriptor(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        copy = os.dup(lock)
    with pytest.raises(StartError, match="in use"), locked(tmp_path):
        pass
    os.close(copy)
    with locked(tmp_path):
        pass
