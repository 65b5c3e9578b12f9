"""The list and the page of a recording, against a server whose answers the test chooses."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.edge.web.scripted_server import JOB, MARKUP, Server, record
from tests.support import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_recording_without_stored_audio_shows_its_text(page: Page, server: Server) -> None:
    server.answers[f"GET /api/v1/jobs/{JOB}"] = [(200, record())]
    server.answers[f"GET /api/v1/jobs/{JOB}/peaks"] = [(410, {"detail": "the audio of job 'a1b2' is no longer stored"})]
    await page.goto(f"{page.url}jobs/{JOB}")
    await expect(page.get_by_text("The audio of job 'a1b2' is no longer stored.")).to_be_visible()
    await expect(page.locator(".lines li")).to_contain_text("1a b")
    await expect(page.get_by_role("heading", name=MARKUP)).to_be_visible()
    await page.locator(".lines").get_by_role("button").click()
    await expect(page.get_by_text("There is no sound to play.")).to_be_visible()


async def test_insights_are_shown(page: Page, server: Server, screenshots: Path) -> None:
    found = {
        "final": True,
        "talk_seconds": 75.2,
        "silence_share": 0.254,
        "words_per_minute": 141.26,
        "longest_monologue_start": 16_000,
        "mood": MARKUP,
        "keywords": {"budget": 2, "contract": 1},
        "speakers": [{"speaker": "Emma", "talk_seconds": 12.34, "interruptions": 0}],
        "interruptions": None,
        "topics": [],
    }
    server.answers[f"GET /api/v1/jobs/{JOB}"] = [(200, record(extra={"insights": found}))]
    await page.goto(f"{page.url}jobs/{JOB}")
    insights = page.get_by_role("region", name="Insights")
    await expect(insights.get_by_role("heading", level=3)).to_have_text(["Keywords", "Speakers"])
    terms = ["Talk", "Silence", "Words per minute", "Mood", "Budget", "Contract"]
    await expect(insights.locator("dt")).to_have_text(terms)
    await expect(insights.locator("dd")).to_have_text(["1:15", "25 %", "141.3", MARKUP, "2", "1"])
    await expect(insights.get_by_role("listitem")).to_have_text(["Speaker: Emma · Talk: 12.3 s · Interruptions: 0"])
    await page.screenshot(path=screenshots / "insights.png", full_page=True)


async def test_a_failed_deletion_is_explained(page: Page, server: Server) -> None:
    server.answers[f"GET /api/v1/jobs/{JOB}"] = [(200, record())]
    server.answers[f"DELETE /api/v1/jobs/{JOB}"] = [(409, {"detail": "job 'a1b2' is live: stop it first"})]
    await page.goto(f"{page.url}jobs/{JOB}")
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("Job 'a1b2' is live: stop it first.")).to_be_visible()
    await expect(page.locator(".lines li")).to_be_visible()


async def test_a_list_that_cannot_be_loaded_is_explained(page: Page, server: Server) -> None:
    server.answers["GET /api/v1/jobs"] = [(503, {"detail": "Redis does not answer", "retry_after": 2})]
    await page.get_by_role("link", name="Recordings").click()
    await expect(page.get_by_role("status").filter(has_text="Redis does not answer.")).to_be_visible()


async def test_an_incomplete_search_continues(page: Page, server: Server) -> None:
    item = {
        "job_id": JOB,
        "state": "completed",
        "title": "Found",
        "created_at": "2026-01-02T03:04:05+00:00",
        "text": "",
    }
    await wait_until(lambda: server.requests, description="the start page has its list")
    server.answers["GET /api/v1/jobs"] = [
        (200, {"jobs": [], "next_cursor": "x", "searched": 1_000}),
        (200, {"jobs": [item], "next_cursor": None, "searched": 200}),
    ]
    await page.goto(f"{page.url}jobs?q=needle")
    await expect(page.locator(".jobs li")).to_have_count(1)
    await expect(page.get_by_role("status").filter(has_text="1 found.")).to_be_visible()
