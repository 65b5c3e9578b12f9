"""Which models a worker loads, and which it evicts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from bus import StartError
from bus.supervisor import Supervisor
from contract import SpeechOptions
from processors.stt.core import Model, UnsupportedOptions
from processors.stt.scheduling import pool as pool_module
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.pool import ModelPool, Unavailable
from processors.stt.scheduling.scheduler import CreateTask, Scheduler, SpeechEngine
from tests.processors.stt.engines import Length
from tests.support import wait_until


class Named(Length):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.model = Model(name, name * 16)


class Loader:
    """Loads models when `open` is set, and counts how often."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.broken: set[str] = set()
        self.buggy: set[str] = set()
        self.open = threading.Event()
        self.open.set()

    def load(self, name: str) -> Named:
        self.loads.append(name)
        self.open.wait(20)
        if name in self.buggy:
            raise KeyError(name)
        if name in self.broken:
            raise StartError(f"STT_MODEL={name!r}: it is broken")
        return Named(name.removeprefix("/models/"))


def schedule(create_task: CreateTask) -> Callable[[SpeechEngine], Scheduler]:
    return lambda engine: Scheduler(engine, 8, 480, create_task)


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
async def pool(loader: Loader) -> AsyncIterator[ModelPool]:
    others = {"a": "/models/a", "b": "/models/b", "c": "/models/c"}
    made = ModelPool(
        Named("own"),
        others,
        loader.load,
        schedule(asyncio.create_task),
        2,
        asyncio.create_task,
    )
    yield made
    loader.open.set()
    made.close()


async def use(pool: ModelPool, name: str | None) -> str:
    """The name of the model that was used."""
    async with pool.acquire(name) as loaded:
        heard = await loaded.scheduler.transcribe(bytes(3_200), SpeechOptions(), Priority.REPLAY)
        assert heard.text == "1600 samples"
        return loaded.model.name


class User:
    """A user of a model until `stop`."""

    def __init__(self, pool: ModelPool, name: str) -> None:
        self.acquired = asyncio.Event()
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(self._use(pool, name))

    async def _use(self, pool: ModelPool, name: str) -> None:
        async with pool.acquire(name):
            self.acquired.set()
            await self._stop.wait()

    async def stop(self) -> None:
        self._stop.set()
        await self.task


async def test_the_own_model_is_not_loaded_again(pool: ModelPool, loader: Loader) -> None:
    assert [await use(pool, name) for name in (None, "own")] == ["own", "own"]
    assert (loader.loads, pool.loaded) == ([], [])


async def test_another_model_is_loaded_once_for_all_its_users(pool: ModelPool, loader: Loader) -> None:
    assert await asyncio.gather(*(use(pool, "a") for _ in range(5))) == ["a"] * 5
    assert await use(pool, "a") == "a"
    assert loader.loads == ["/models/a"]


async def test_a_model_that_is_not_offered_is_refused_with_those_that_are(pool: ModelPool, loader: Loader) -> None:
    for name in ("z", "/models/a"):
        with pytest.raises(UnsupportedOptions) as caught:
            await use(pool, name)
        assert str(caught.value) == f"model {name!r}: not offered; accepted: null (the worker's own), own, a, b, c"
    assert loader.loads == []


async def test_the_least_recently_used_model_is_evicted(pool: ModelPool, loader: Loader) -> None:
    for name in ("a", "b", "a", "c", "a"):
        await use(pool, name)
    assert sorted(pool.loaded) == ["a", "c"]
    assert loader.loads == ["/models/a", "/models/b", "/models/c"]
    await use(pool, "b")
    assert loader.loads[-1] == "/models/b"


async def test_a_model_in_use_is_not_evicted(pool: ModelPool, loader: Loader) -> None:
    first = User(pool, "a")
    await first.acquired.wait()
    for name in ("b", "c", "b"):
        await use(pool, name)
    assert "a" in pool.loaded
    assert loader.loads.count("/models/a") == 1
    await first.stop()


async def test_a_user_waits_for_a_free_slot(pool: ModelPool) -> None:
    first, second = User(pool, "a"), User(pool, "b")
    await first.acquired.wait()
    await second.acquired.wait()
    third = User(pool, "c")
    assert await use(pool, "a") == "a"  # a loaded model accepts more users
    assert not third.acquired.is_set()
    await second.stop()
    await third.acquired.wait()
    assert sorted(pool.loaded) == ["a", "c"]
    await first.stop()
    await third.stop()


async def test_models_that_are_always_in_use_make_room_in_the_end(
    pool: ModelPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "EVICT_AFTER", 0.05)
    users = {name: [User(pool, name)] for name in ("a", "b")}
    for user in (users["a"][0], users["b"][0]):
        await user.acquired.wait()
    third = User(pool, "c")

    async def refused() -> bool:
        """Whether a new user of one of them has to wait although it is loaded."""
        for user in users.values():
            user.append(User(pool, "a" if user is users["a"] else "b"))
        for _ in range(3):
            await asyncio.sleep(0)
        return not all(user[-1].acquired.is_set() for user in users.values())

    await wait_until(refused, description="one of them accepts no new user")
    (leaving,) = [user for user in users.values() if not user[-1].acquired.is_set()]
    for user in leaving[:-1]:
        await user.stop()
    await third.acquired.wait()
    await third.stop()
    await leaving[-1].acquired.wait()  # in the slot of the third
    for user in [leaving[-1], *(user for name in users.values() if name is not leaving for user in name)]:
        await user.stop()


async def test_a_model_that_cannot_be_loaded_is_tried_again(pool: ModelPool, loader: Loader) -> None:
    loader.broken.add("/models/a")
    results = await asyncio.gather(*(use(pool, "a") for _ in range(2)), return_exceptions=True)
    assert [str(result) for result in results] == ["model 'a' cannot be loaded: it is broken"] * 2
    assert all(isinstance(result, Unavailable) for result in results)
    assert pool.loaded == []
    loader.broken.clear()
    assert await use(pool, "a") == "a"


async def test_a_user_that_leaves_during_loading_does_not_affect_the_others(pool: ModelPool, loader: Loader) -> None:
    loader.open.clear()
    users = [asyncio.create_task(use(pool, "a")) for _ in range(2)]
    await wait_until(lambda: loader.loads, description="loading has begun")
    users[0].cancel()
    await asyncio.gather(users[0], return_exceptions=True)
    loader.open.set()
    assert await users[1] == "a"
    assert loader.loads == ["/models/a"]


async def test_closing_while_a_model_is_in_use(pool: ModelPool) -> None:
    user = User(pool, "a")
    await user.acquired.wait()
    pool.close()
    await user.stop()
    assert pool.loaded == []


async def test_an_unforeseen_error_while_loading_ends_the_owner_of_the_tasks(loader: Loader) -> None:
    loader.buggy.add("/models/a")

    async def load() -> None:
        async with Supervisor() as tasks:
            start = tasks.start
            await use(ModelPool(Named("own"), {"a": "/models/a"}, loader.load, schedule(start), 1, start), "a")

    with pytest.raises(KeyError):
        await load()
