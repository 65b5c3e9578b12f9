"""Which models a worker has at hand, and which it lets go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from bus import StartError
from contract import SpeechOptions
from processors.stt.core import Model, UnsupportedOptions
from processors.stt.scheduling import pool as pool_module
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.pool import ModelPool, Unavailable
from processors.stt.scheduling.scheduler import Scheduler
from tests.processors.stt.engines import Length
from tests.support import wait_until


class Named(Length):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.model = Model(name, name * 16)


class Shelf:
    """Loads models when it is let, and knows how often each was loaded."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.broken: set[str] = set()
        self.absurd: set[str] = set()
        self.open = threading.Event()
        self.open.set()

    def load(self, name: str) -> Named:
        self.loads.append(name)
        self.open.wait(20)
        if name in self.absurd:
            raise KeyError(name)
        if name in self.broken:
            raise StartError(f"STT_MODEL={name!r}: it has gone bad")
        return Named(name.removeprefix("/models/"))


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
async def engines(shelf: Shelf) -> AsyncIterator[ModelPool]:
    others = {"a": "/models/a", "b": "/models/b", "c": "/models/c"}
    made = ModelPool(
        Named("own"),
        others,
        shelf.load,
        lambda engine: Scheduler(engine, 8, 480, asyncio.create_task),
        2,
        asyncio.create_task,
    )
    yield made
    shelf.open.set()
    made.close()


async def use(engines: ModelPool, name: str | None) -> str:
    """The name of the model that was used."""
    async with engines.acquire(name) as loaded:
        heard = await loaded.scheduler.transcribe(bytes(3_200), SpeechOptions(), Priority.REPLAY)
        assert heard.text == "1600 samples"
        return loaded.model.name


class Held:
    """Somebody who uses a model until told to stop."""

    def __init__(self, engines: ModelPool, name: str) -> None:
        self.has = asyncio.Event()
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(self._use(engines, name))

    async def _use(self, engines: ModelPool, name: str) -> None:
        async with engines.acquire(name):
            self.has.set()
            await self._stop.wait()

    async def stop(self) -> None:
        self._stop.set()
        await self.task


async def test_the_own_model_is_never_loaded_again(engines: ModelPool, shelf: Shelf) -> None:
    assert [await use(engines, name) for name in (None, "own")] == ["own", "own"]
    assert (shelf.loads, engines.loaded) == ([], [])


async def test_another_one_is_loaded_once_for_all_who_want_it(engines: ModelPool, shelf: Shelf) -> None:
    assert await asyncio.gather(*(use(engines, "a") for _ in range(5))) == ["a"] * 5
    assert await use(engines, "a") == "a"
    assert shelf.loads == ["/models/a"]


async def test_what_is_not_offered_is_refused_with_what_is(engines: ModelPool, shelf: Shelf) -> None:
    for name in ("z", "/models/a"):
        with pytest.raises(UnsupportedOptions) as caught:
            await use(engines, name)
        assert str(caught.value) == f"model {name!r}: not offered; accepted: null (the worker's own), own, a, b, c"
    assert shelf.loads == []


async def test_the_least_recently_used_makes_room(engines: ModelPool, shelf: Shelf) -> None:
    for name in ("a", "b", "a", "c", "a"):
        await use(engines, name)
    assert sorted(engines.loaded) == ["a", "c"]
    assert shelf.loads == ["/models/a", "/models/b", "/models/c"]
    await use(engines, "b")
    assert shelf.loads[-1] == "/models/b"


async def test_one_that_is_in_use_is_not_dropped(engines: ModelPool, shelf: Shelf) -> None:
    first = Held(engines, "a")
    await first.has.wait()
    for name in ("b", "c", "b"):
        await use(engines, name)
    assert "a" in engines.loaded
    assert shelf.loads.count("/models/a") == 1
    await first.stop()


async def test_who_finds_no_room_waits_for_a_place(engines: ModelPool) -> None:
    first, second = Held(engines, "a"), Held(engines, "b")
    await first.has.wait()
    await second.has.wait()
    third = Held(engines, "c")
    assert await use(engines, "a") == "a"  # which is in use and stays so
    assert not third.has.is_set()
    await second.stop()
    await third.has.wait()
    assert sorted(engines.loaded) == ["a", "c"]
    await first.stop()
    await third.stop()


async def test_nobody_is_kept_waiting_by_those_who_always_use_a_model(
    engines: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "EVICT_AFTER", 0.05)
    users = {name: [Held(engines, name)] for name in ("a", "b")}
    for held in (users["a"][0], users["b"][0]):
        await held.has.wait()
    third = Held(engines, "c")

    async def refused() -> bool:
        """Whether a newcomer to one of them has to wait, although it is loaded."""
        for held in users.values():
            held.append(Held(engines, "a" if held is users["a"] else "b"))
        for _ in range(3):
            await asyncio.sleep(0)
        return not all(held[-1].has.is_set() for held in users.values())

    await wait_until(refused, description="one of them takes nothing new")
    (leaving,) = [held for held in users.values() if not held[-1].has.is_set()]
    for held in leaving[:-1]:
        await held.stop()
    await third.has.wait()
    await third.stop()
    await leaving[-1].has.wait()  # in the place of the third
    for held in [leaving[-1], *(held for name in users.values() if name is not leaving for held in name)]:
        await held.stop()


async def test_one_that_cannot_be_loaded_is_tried_again(engines: ModelPool, shelf: Shelf) -> None:
    shelf.broken.add("/models/a")
    results = await asyncio.gather(*(use(engines, "a") for _ in range(2)), return_exceptions=True)
    assert [str(result) for result in results] == ["model 'a' cannot be loaded: it has gone bad"] * 2
    assert all(isinstance(result, Unavailable) for result in results)
    assert engines.loaded == []
    shelf.broken.clear()
    assert await use(engines, "a") == "a"


async def test_who_leaves_while_it_is_loaded_harms_nobody(engines: ModelPool, shelf: Shelf) -> None:
    shelf.open.clear()
    users = [asyncio.create_task(use(engines, "a")) for _ in range(2)]
    await wait_until(lambda: shelf.loads, description="loading has begun")
    users[0].cancel()
    await asyncio.gather(users[0], return_exceptions=True)
    shelf.open.set()
    assert await users[1] == "a"
    assert shelf.loads == ["/models/a"]


async def test_closing_while_it_is_in_use(engines: ModelPool) -> None:
    held = Held(engines, "a")
    await held.has.wait()
    engines.close()
    await held.stop()
    assert engines.loaded == []


async def test_an_unforeseen_error_while_loading_ends_the_task_group(shelf: Shelf) -> None:
    shelf.absurd.add("/models/a")

    async def load() -> None:
        async with asyncio.TaskGroup() as tasks:
            create = tasks.create_task
            pool = ModelPool(
                Named("own"), {"a": "/models/a"}, shelf.load, lambda one: Scheduler(one, 8, 480, create), 1, create
            )
            await use(pool, "a")

    with pytest.raises(ExceptionGroup) as caught:
        await load()
    assert caught.group_contains(KeyError)
