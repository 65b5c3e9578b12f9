from __future__ import annotations

from typing import Any

from bus import Bus
from compose.servers import Server
from tests.edge.conftest import Edge
from tests.edge.meeting import hold

PROBLEM = "application/problem+json"


async def jobs(edge: Edge, query: str = "") -> dict[str, Any]:
    response = await edge.get(f"/api/v1/jobs{query}")
    assert response.status_code == 200, response.text
    return dict(response.json())


async def test_there_may_be_none(edge: Edge) -> None:
    assert await jobs(edge) == {"jobs": [], "next_cursor": None, "searched": 0}


async def test_a_live_job_and_a_finished_one(edge: Edge, worker: Bus, redis_url: str) -> None:
    finished = await edge.create()
    await hold(worker, redis_url, finished)
    live = await edge.create(title="Standup", language="ko", source="upload")
    found = {job["job_id"]: job for job in (await jobs(edge))["jobs"]}
    assert set(found) == {finished, live}
    created_at, completed_at = (found[finished].pop(name) for name in ("created_at", "completed_at"))
    assert created_at < completed_at
    assert found[finished] == {
        "job_id": finished,
        "state": "completed",
        "title": "Greetings",
        "duration": 2.0,
        "segments": 2,
        "language": "en",
        "source": "live",
        "text": "Hello there. Goodbye.",
    }
    assert found[live].pop("created_at") >= created_at
    assert found[live] == {
        "job_id": live,
        "state": "created",
        "title": "Standup",
        "completed_at": None,
        "duration": None,
        "segments": None,
        "language": "ko",
        "source": "upload",
        "text": "",
    }


async def test_pages_follow_each_other(edge: Edge) -> None:
    created = [await edge.create() for _ in range(5)]
    told: list[str] = []
    cursor = ""
    for expected in (2, 2, 1):
        page = await jobs(edge, f"?limit=2{cursor}")
        assert len(page["jobs"]) == expected
        told += [job["job_id"] for job in page["jobs"]]
        cursor = f"&cursor={page['next_cursor']}"
        await edge.create()  # what comes meanwhile is on no later page
    assert page["next_cursor"] is None
    assert sorted(told) == sorted(created)


async def test_words_and_states_are_looked_for(edge: Edge, worker: Bus, redis_url: str) -> None:
    first, second = await edge.create(title="Lab"), await edge.create(title="Standup")
    await hold(worker, redis_url, first, ("The budget is short.",))
    found = await jobs(edge, "?q=BUDGET%20lab")
    assert ([job["job_id"] for job in found["jobs"]], found["searched"]) == ([first], 2)
    assert found["jobs"][0]["text"].startswith("The budget is short.")
    assert [job["job_id"] for job in (await jobs(edge, "?q=standup"))["jobs"]] == [second]
    assert (await jobs(edge, "?q=budget&status=created,streaming"))["jobs"] == []
    assert [job["job_id"] for job in (await jobs(edge, "?status=created"))["jobs"]] == [second]
    assert len((await jobs(edge, "?q=%20&status="))["jobs"]) == 2


BAD = [
    ("limit=0", "limit='0': Input should be greater than or equal to 1"),
    ("limit=201", "limit='201': Input should be less than or equal to 200"),
    ("limit=x", "limit='x': Input should be a valid integer"),
    ("status=dancing", "status='dancing': accepted are created, streaming, transcribing, summarizing, completed"),
    ("status=completed,deleted", "status='completed,deleted': accepted are created"),
    ("cursor=x", "cursor: 'x' is not a cursor that a page gave"),
    ("page=2", "unknown parameter 'page'; accepted are status, limit, cursor, q"),
    (f"q={'x' * 201}", "String should have at most 200 characters"),
]


async def test_a_bad_query_is_told_what_is_wrong(edge: Edge) -> None:
    for query, says in BAD:
        response = await edge.get(f"/api/v1/jobs?{query}")
        assert (response.status_code, response.headers["content-type"]) == (422, PROBLEM), query
        assert says in response.json()["detail"]


async def test_a_store_that_is_away_is_told(edge: Edge, redis_server: Server) -> None:
    await redis_server.kill()
    response = await edge.get("/api/v1/jobs")
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    await redis_server.start()
    assert (await jobs(edge))["jobs"] == []
