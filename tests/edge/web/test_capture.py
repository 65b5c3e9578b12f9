"""Recording in the page: a real browser with a microphone, and the real system behind it except Ollama."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from contract import RATE, WIDTH
from tests.edge.web.meeting import in_order, microphone, shown, spoken, word_error_rate
from tests.edge.web.proxy import Proxy, proxying
from tests.edge.web.window import TRANSCRIBED_WITHIN, digits, finish, start, window
from tests.edge.web.wire import Wire
from tests.ollama_server import OllamaServer, says, serving
from tests.support import wait_until
from tools.browser import browser
from tools.system import System, running_system

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

SUMMARY = {
    "title": "Standup on the prototype",
    "summary": "The prototype is almost finished; the contract is still blocked and will be reviewed.",
    "key_points": ["The prototype is almost finished.", "Two more testers are needed."],
    "decisions": ["The prototype will be presented."],
    "action_items": [
        {"who": "Emma", "what": "Review the contract", "due": "tomorrow"},
        {"who": "Brian", "what": "Update the website", "due": "before Friday"},
    ],
}

RESUME_WINDOW = 12
SHORT = 5
"""Sentences in the microphone of most tests."""

NOTE_INTERIM_TEXTS = """() => {
  window.interimTexts = new Set();
  const note = () => document.querySelectorAll(".partial p").forEach((text) => interimTexts.add(text.textContent));
  new MutationObserver(note).observe(document.querySelector(".open"), { subtree: true, childList: true });
}"""
"""Collects the interim texts, which are shown only for a moment."""

MAX_WORD_ERROR_RATE = 0.05
"""Word error rate: the microphone's sound goes through the browser's own processing."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    ollama = OllamaServer()
    ollama.plan.extend(says(json.dumps(SUMMARY)) for _ in range(20))
    folder = tmp_path_factory.mktemp("system")
    async with (
        serving(ollama) as model,
        running_system(folder, OLLAMA_HOST=model.url, EDGE_RESUME_WINDOW=str(RESUME_WINDOW)) as started,
    ):
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def short_microphone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with browser(microphone(tmp_path_factory.mktemp("sound"), "standup", SHORT)) as launched:
        yield launched


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(system: System) -> AsyncIterator[Proxy]:
    async with proxying(system.url) as started:
        yield started


async def transcribed(page: Page, sentences: int) -> None:
    """Wait for this many final segments."""

    async def enough() -> bool:
        return len(await shown(page)) >= sentences

    await wait_until(enough, description=f"{sentences} sentences are shown", timeout=TRANSCRIBED_WITHIN / 1_000)


async def stored(system: System, job: str) -> bytes:
    """The sound that the server has, without the header."""
    async with httpx.AsyncClient(base_url=system.url) as http:
        response = await http.get(f"/api/v1/jobs/{job}/audio.wav")
        response.raise_for_status()
        return response.content[44:]


async def segments(system: System, job: str) -> list[str]:
    async with httpx.AsyncClient(base_url=system.url) as http:
        record = (await http.get(f"/api/v1/jobs/{job}")).json()
    assert [segment["index"] for segment in record["segments"]] == list(range(len(record["segments"])))
    return [segment["text"] for segment in record["segments"]]


async def test_from_a_click_to_the_summary(system: System, tmp_path: Path, screenshots: Path) -> None:
    async with (
        browser(microphone(tmp_path, "standup")) as chromium,
        window(chromium, system.url, viewport={"width": 1280, "height": 800}) as page,
    ):
        wire = Wire(page)
        await page.screenshot(path=screenshots / "start.png")
        await start(page, "Monday standup")
        await page.evaluate(NOTE_INTERIM_TEXTS)
        await transcribed(page, 6)
        await expect(page.locator(".saved")).to_have_text(digits("N.N s saved"))
        await page.screenshot(path=screenshots / "live.png")
        await transcribed(page, len(spoken("standup")))
        assert word_error_rate(spoken("standup"), await shown(page)) <= MAX_WORD_ERROR_RATE
        assert any("prototype" in text for text in await page.evaluate("[...interimTexts]"))
        job = await finish(page)
        card = page.get_by_label("Summary")
        for text in [SUMMARY["title"], SUMMARY["summary"], *SUMMARY["key_points"], *SUMMARY["decisions"]]:
            await expect(card.get_by_text(str(text), exact=True)).to_be_visible()
        await expect(card.get_by_role("listitem").filter(has_text="Review the contract")).to_contain_text("Emma")
        await expect(card).to_contain_text("Written by gemma3 on this server.")
        await page.screenshot(path=screenshots / "done.png", full_page=True)
        assert await segments(system, job) == await shown(page)
        frames = wire.connections[0].frames
        assert set(frames[len(frames) // 2 : -1]) == {960}  # the backlog of the start is before that
        assert wire.sound() == await stored(system, job)


async def test_a_broken_connection_loses_and_repeats_nothing(
    system: System, short_microphone: Browser, proxy: Proxy, screenshots: Path
) -> None:
    async with window(short_microphone, proxy.url, viewport={"width": 390, "height": 780}) as page:
        wire = Wire(page)
        await start(page)
        await transcribed(page, 1)
        proxy.cut()
        await expect(page.locator(".problem")).to_contain_text("No connection: the connection broke.")
        await expect(page.locator(".saved")).to_contain_text("only in this browser")
        await page.screenshot(path=screenshots / "offline-phone.png")
        await mend(proxy, page)
        await expect(page.locator(".problem")).to_be_hidden(timeout=15_000)
        await transcribed(page, SHORT)
        assert word_error_rate(spoken("standup", SHORT), await shown(page)) <= MAX_WORD_ERROR_RATE
        await expect(page.locator(".problem")).to_have_text("There is no sound. Is the microphone muted?")  # it ended
        job = await finish(page)
        assert await segments(system, job) == await shown(page)
        assert len(wire.accepted) == 2
        assert max(wire.accepted[1].frames) == 15_360  # the sound of the time without a connection
        assert wire.sound() == await stored(system, job)


async def test_recording_continues_after_a_reload(system: System, short_microphone: Browser, proxy: Proxy) -> None:
    async with window(short_microphone, proxy.url) as page:
        wire = Wire(page)
        await start(page, "Twice begun")
        await transcribed(page, 1)
        proxy.cut()
        # Sentences two and three are recorded without a connection, and the page is reloaded before it has one.
        await wait_until(lambda: recorded(page, 8), description="two more sentences are said")
        before = await elapsed(page)
        await page.reload()
        await expect(page.get_by_role("heading", name="Twice begun")).to_be_visible()
        await mend(proxy, page)
        await expect(page.locator(".phase")).to_have_text("Recording")  # the microphone's file begins again
        await wait_until(lambda: recorded(page, before + 5), description="more is said")
        after = await elapsed(page)
        job = await finish(page)
        assert await segments(system, job) == await shown(page)
        assert len({each.start for each in wire.accepted}) == 2
        sound = await stored(system, job)
        assert wire.sound() == sound
        assert len(sound) >= after * RATE * WIDTH, "from before the reload and after it"
        await page.reload()
        await expect(page.get_by_role("button", name="Start recording")).to_be_visible()  # nothing is left to do


async def mend(proxy: Proxy, page: Page) -> None:
    """Restore the network, and tell the page as a browser does."""
    proxy.mend()
    await page.evaluate("dispatchEvent(new Event('online'))")


async def elapsed(page: Page) -> int:
    """Seconds that were recorded."""
    minutes, rest = (await page.locator(".elapsed").inner_text()).split(":")
    return 60 * int(minutes) + int(rest)


async def recorded(page: Page, seconds: int) -> bool:
    """Whether this much was recorded."""
    return await elapsed(page) >= seconds


async def test_sound_that_is_too_late_for_its_job_goes_to_another(
    system: System, short_microphone: Browser, proxy: Proxy
) -> None:
    async with window(short_microphone, proxy.url) as page:
        await start(page, "Long away")
        await transcribed(page, 1)
        proxy.cut()
        async with httpx.AsyncClient(base_url=system.url) as http:

            async def closed() -> bool:
                jobs = (await http.get("/api/v1/jobs", params={"q": "Long away"})).json()["jobs"]
                return bool(jobs[0]["state"] == "completed")

            await wait_until(closed, description="the server has closed the job", timeout=TRANSCRIBED_WITHIN / 1_000)
        proxy.mend()
        await transcribed(page, SHORT)
        # On a busy machine the connection is cut later, in the middle of a sentence, which is then split between jobs.
        assert in_order(spoken("standup", SHORT), await shown(page)) >= SHORT - 1
        second = await finish(page)
        href = await page.get_by_role("link", name="Part 1").get_attribute("href")
        assert href is not None
        first = href.removeprefix("/jobs/")
        assert [*await segments(system, first), *await segments(system, second)] == await shown(page)
        async with httpx.AsyncClient(base_url=system.url) as http:
            options = (await http.get(f"/api/v1/jobs/{second}")).json()["options"]
        assert (options["title"], options["metadata"]) == ("Long away (continued)", {"continues": first})


async def test_a_pause_is_not_recorded(system: System, tmp_path: Path) -> None:
    # Nothing is said after the first sentence, so it does not matter how late the pause comes.
    async with browser(microphone(tmp_path, "standup", 1)) as one_sentence, window(one_sentence, system.url) as page:
        wire = Wire(page)
        await start(page)
        await transcribed(page, 1)
        await page.get_by_role("button", name="Pause").click()
        await expect(page.locator(".phase")).to_have_text("Paused")
        length = await page.locator(".elapsed").inner_text()
        sent = len(wire.connections[0].frames)
        await page.get_by_role("link", name="Recordings").click()
        await expect(page.locator(".recording-link")).to_contain_text("In progress")
        await page.locator(".recording-link").click()
        await expect(page.locator(".elapsed")).to_have_text(length)
        assert len(wire.connections[0].frames) - sent <= 1  # the rest of a frame
        await page.get_by_role("button", name="Continue recording").click()
        await transcribed(page, 2)
        assert word_error_rate([spoken("standup")[0]] * 2, await shown(page)) <= MAX_WORD_ERROR_RATE
        job = await finish(page)
        assert wire.sound() == await stored(system, job)
