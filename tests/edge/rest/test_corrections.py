"""Jobs whose live transcripts were corrected, over REST."""

from __future__ import annotations

import pytest

from bus import Bus
from contract import Opened, Transcript
from tests.edge.conftest import Edge, StartEdge
from tests.edge.meeting import RATE, close, complete, said, send, transcribe
from tests.edge.rest.test_replays import PROBLEM, again, ask

LIVE, BETTER = ("The epic of belief.", "Uh."), ("The epoch of belief.", "")
ALL = {"transcribed": 2, "failed": 0, "segments": 2}


def corrections(job: str) -> list[Transcript]:
    made = [said(job, index, text) for index, text in enumerate(BETTER)]
    return [transcript.model_copy(update={"generation": 2, "model": "small"}) for transcript in made]


async def live(edge: Edge, bus: Bus) -> str:
    """A job that is transcribed and will be corrected."""
    job = await edge.create(correct=True)
    await bus.create(Opened(job=job))
    await send(bus, job, 0, 2 * RATE)
    await close(bus, job, 2 * RATE)
    await transcribe(bus, *(said(job, index, text) for index, text in enumerate(LIVE)))
    return job


@pytest.fixture
async def corrected(edge: Edge, worker: Bus, redis_url: str) -> str:
    """A finished job that has its corrected transcripts."""
    job = await live(edge, worker)
    for transcript in corrections(job):
        await worker.create(transcript)
    await complete(worker, redis_url, job, *corrections(job))
    return job


@pytest.mark.parametrize(
    ("server", "asked", "found"),
    [
        (True, {}, True),
        (True, {"correct": False}, False),
        (True, {"source": "upload"}, False),
        (False, {}, False),
        (False, {"correct": None}, False),
        (False, {"correct": True}, True),
        (False, {"correct": True, "source": "replay"}, False),
    ],
)
async def test_it_is_decided_when_the_job_is_created(
    start_edge: StartEdge, server: bool, asked: dict[str, object], found: bool
) -> None:
    async with start_edge(correct=server) as edge:
        job = await edge.create(**asked)
        assert (await edge.get(f"/api/v1/jobs/{job}")).json()["options"]["correct"] is found


async def test_a_finished_job_shows_its_corrected_text(edge: Edge, corrected: str) -> None:
    path = f"/api/v1/jobs/{corrected}"
    record = (await edge.get(path)).json()
    assert (record["generation"], record["transcript"], record["progress"]) == (2, BETTER[0], ALL)
    assert [segment["text"] for segment in record["segments"]] == [*BETTER]
    assert record["generations"] == [
        {"generation": 1, "segments": 2, "done": True, "model": None},
        {"generation": 2, "segments": 2, "done": True, "model": "small"},
    ]
    assert (await edge.get(f"{path}?generation=2")).json() == record
    assert (await edge.get(f"{path}/transcript.txt")).text == f"{BETTER[0]}\n"
    assert "epic" not in (await edge.get(f"{path}/transcript.srt")).text
    (listed,) = (await edge.get("/api/v1/jobs?q=epoch")).json()["jobs"]
    assert listed["text"].startswith(BETTER[0])
    assert (await edge.get("/api/v1/jobs?q=epic")).json()["jobs"] == []


async def test_its_live_text_can_still_be_read(edge: Edge, corrected: str) -> None:
    path = f"/api/v1/jobs/{corrected}"
    first = (await edge.get(f"{path}?generation=1")).json()
    assert (first["generation"], first["transcript"], first["progress"]) == (1, "\n".join(LIVE), ALL)
    assert first["generations"] == (await edge.get(path)).json()["generations"]
    assert (await edge.get(f"{path}/transcript.txt?generation=1")).text == "\n".join(LIVE) + "\n"


async def test_the_record_stays_when_the_events_have_left_the_bus(edge: Edge, worker: Bus, corrected: str) -> None:
    await worker.purge("EVENTS", f"events.{corrected}.>")
    path = f"/api/v1/jobs/{corrected}"
    record = (await edge.get(path)).json()
    assert (record["transcript"], record["progress"]) == (BETTER[0], ALL)
    assert record["generations"] == [{"generation": 2, "segments": 2, "done": True, "model": "small"}]
    gone = await edge.get(f"{path}?generation=1")
    assert (gone.status_code, gone.headers["content-type"]) == (410, PROBLEM)
    assert gone.json()["detail"] == f"generation 1 of job {corrected!r} is no longer stored"


async def test_an_unfinished_job_shows_its_live_text(edge: Edge, worker: Bus) -> None:
    job = await live(edge, worker)
    path = f"/api/v1/jobs/{job}"
    assert (await edge.get(f"{path}?generation=2")).status_code == 404
    await worker.create(corrections(job)[0])
    record = (await edge.get(path)).json()
    assert (record["generation"], record["transcript"]) == (1, "\n".join(LIVE))
    assert record["generations"] == [
        {"generation": 1, "segments": 2, "done": False, "model": None},
        {"generation": 2, "segments": 1, "done": False, "model": "small"},
    ]
    second = (await edge.get(f"{path}?generation=2")).json()
    assert (second["transcript"], second["progress"]) == (BETTER[0], ALL | {"transcribed": 1})


async def test_replays_leave_its_number_free(edge: Edge, worker: Bus, corrected: str) -> None:
    job = await live(edge, worker)  # nothing is corrected yet
    numbers = [(await ask(edge, job)).json()["generation"] for _ in range(2)]
    assert numbers == [3, 4]
    assert (await ask(edge, corrected)).json()["generation"] == 3
    await again(worker, corrected, 3, "Replayed.", model="large-v3")
    found = (await edge.get(f"/api/v1/jobs/{corrected}")).json()["generations"]
    assert [each["generation"] for each in found] == [1, 2, 3]
    assert found[-1] == {"generation": 3, "segments": 1, "done": True, "model": "large-v3"}
    replay = (await edge.get(f"/api/v1/jobs/{corrected}?generation=3")).json()
    assert (replay["generation"], replay["transcript"]) == (3, "Replayed.")
