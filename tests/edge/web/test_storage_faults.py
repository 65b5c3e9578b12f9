"""A browser whose storage is full, missing or cleared: the recording goes on, and the person knows what is at risk."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, CDPSession, FilePayload, Page, expect

from contract import RATE
from tests.edge.web.scripted_server import JOB, Server, Socket, record
from tests.edge.web.site import Site
from tests.edge.web.test_scripted_capture import beep
from tests.edge.web.window import start, window
from tests.support import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_RISK = "Unsaved sound would be lost if this page were closed or reloaded: "
FULL = f"{AT_RISK}the storage of this browser is full."


class Quota:
    """How much the browser lets the page store."""

    def __init__(self, session: CDPSession, origin: str) -> None:
        self._session = session
        self._origin = origin

    async def set(self, size: int) -> None:
        await self._session.send("Storage.overrideQuotaForOrigin", {"origin": self._origin, "quotaSize": size})


@pytest_asyncio.fixture(loop_scope="module")
async def quota(page: Page, site: Site) -> Quota:
    return Quota(await page.context.new_cdp_session(page), site.url)


async def asks_before_leaving(page: Page) -> bool:
    """Whether the browser would ask the person before it leaves the page."""
    return bool(await page.evaluate("!dispatchEvent(new Event('beforeunload', { cancelable: true }))"))


async def more(socket: Socket) -> None:
    """Wait for another second of sound."""
    await socket.received(len(socket.pcm) // 2 + RATE)


async def test_a_full_storage_is_told_and_the_recording_goes_on(
    page: Page, server: Server, quota: Quota, screenshots: Path
) -> None:
    await quota.set(1)
    await start(page)
    socket = await server.socket(1)
    problem = page.locator(".problem")
    await expect(problem).to_contain_text(FULL)
    await page.screenshot(path=screenshots / "storage-full.png")
    await more(socket)
    await socket.close(1012)
    again = await server.socket(2)
    await more(again)
    assert again.pcm[: len(socket.pcm)] == socket.pcm[: len(again.pcm)]
    server.silent = True
    server.answers["POST /api/v1/stream/create"] = [(503, {"detail": "away"})]
    again.say("error", code="unavailable", message="the bus does not answer", retry_after=60)
    await again.close(1013)
    await expect(problem).to_contain_text(f"{FULL} No connection: the bus does not answer.")
    await expect(problem).not_to_contain_text("is stored in this browser")
    await page.screenshot(path=screenshots / "storage-full-offline.png")
    assert await asks_before_leaving(page)
    await quota.set(1_000_000_000)
    await expect(problem).to_contain_text("What you say is stored in this browser meanwhile.")
    await expect(problem).not_to_contain_text(AT_RISK)


async def test_sound_that_is_neither_stored_nor_sent_is_offered_as_a_file(
    page: Page, server: Server, quota: Quota, screenshots: Path
) -> None:
    await quota.set(1)
    await start(page)
    socket = await server.socket(1)
    await socket.received()
    await expect(page.locator(".problem")).to_contain_text(FULL)
    await socket.close(4001)
    await expect(page.get_by_text("It is only in this page: save it before you leave.")).to_be_visible()
    await expect(page.get_by_role("link", name="Save as a file")).to_be_visible()
    await page.screenshot(path=screenshots / "storage-full-unsaved.png")
    assert await asks_before_leaving(page)


@pytest.mark.parametrize(
    "broken",
    [
        "IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError'); }",
        "IDBFactory.prototype.open = () => ({})",  # never answers
        "Object.defineProperty(window, 'indexedDB', { value: undefined })",
    ],
)
async def test_without_a_storage_everything_else_works(
    chromium: Browser, site: Site, server: Server, broken: str, screenshots: Path
) -> None:
    async def before(page: Page) -> None:
        await server.attach(page)
        await page.add_init_script(broken)

    async with window(chromium, site.url, before=before) as page:
        await start(page)
        socket = await server.socket(1)
        await more(socket)
        await expect(page.locator(".problem")).to_have_text(f"{AT_RISK}this browser stores nothing for this page.")
        await page.screenshot(path=screenshots / "storage-none.png")
        server.answers[f"GET /api/v1/jobs/{JOB}"] = [(200, record())]
        await page.get_by_role("button", name="Finish").click()
        await wait_until(lambda: socket.commands == ["stop"], description="stop is said")
        socket.say("final_summary", summary=None, transcript="", total_segments=0)
        await expect(page.locator(".phase")).to_have_text("Finished")


async def test_a_storage_that_is_cleared_gets_all_unsaved_sound_again(page: Page, server: Server) -> None:
    await start(page, "Cleared")
    socket = await server.socket(1)
    await socket.received(RATE)
    await page.evaluate(
        """() => new Promise((resolve, reject) => {
          const request = indexedDB.deleteDatabase("stenobus");
          request.onsuccess = () => resolve();
          request.onerror = () => reject(request.error);
        })"""
    )
    await more(socket)
    await expect(page.locator(".problem")).to_be_hidden()
    sent = bytes(socket.pcm)
    await page.reload()
    again = await server.socket(2)
    assert again.sample == 0
    await again.received(len(sent) // 2)
    assert again.pcm[: len(sent)] == sent


async def test_an_upload_whose_file_could_not_be_stored_is_told_after_a_reload(
    page: Page, server: Server, quota: Quota
) -> None:
    await quota.set(20_000)
    sound = FilePayload(name="beep.wav", mimeType="audio/wav", buffer=beep())
    await page.get_by_label("Choose a file").set_input_files(sound)
    socket = await server.socket(1)
    await expect(page.locator(".problem")).to_contain_text(FULL)
    assert await asks_before_leaving(page)
    await quota.set(1_000_000_000)
    socket.say("ack", samples=1_600)
    await expect(page.locator(".panel progress")).not_to_have_js_property("value", 0)
    await page.reload()
    told = "“beep.wav” could not be continued: the browser did not store the file. Please choose it again."
    await expect(page.get_by_text(told)).to_be_visible()
