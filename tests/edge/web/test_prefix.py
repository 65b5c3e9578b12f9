"""The page, the API and the command below the path prefix of a reverse proxy; everything is real."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.client.process import run
from tests.edge.web.meeting import SAMPLES, microphone, shown, spoken, word_error_rate
from tests.edge.web.proxy import Mount, Proxy, proxying
from tests.edge.web.window import TRANSCRIBED_WITHIN, finish, start, window
from tests.edge.web.wire import Wire
from tests.support import wait_until
from tools.browser import browser
from tools.system import System, running_system

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

SENTENCES = 2
MAX_WORD_ERROR_RATE = 0.05
HEIGHT = {"width": 1280, "height": 800}

CONFIGURED, NAMED = "EDGE_ROOT_PATH, left in the path", "X-Forwarded-Prefix, removed from the path"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[CONFIGURED, NAMED])
async def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    root_path = "/steno" if request.param == CONFIGURED else ""
    async with running_system(tmp_path_factory.mktemp("system"), EDGE_ROOT_PATH=root_path) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def speaking(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """A browser whose microphone has the first sentences of a sample."""
    async with browser(microphone(tmp_path_factory.mktemp("sound"), "standup", SENTENCES)) as launched:
        yield launched


@pytest.fixture
def mount(request: pytest.FixtureRequest) -> Mount:
    """The proxy as that system expects it. The second one does not keep the client's `Host`."""
    if request.node.callspec.params["system"] == CONFIGURED:
        return Mount("/steno", strip=False)
    return Mount("/steno", strip=True, headers={"X-Forwarded-Prefix": "/steno", "Host": "inner:8000"})


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(system: System, mount: Mount) -> AsyncIterator[Proxy]:
    async with proxying(system.url, mount) as started:
        if "Host" in mount.headers:
            mount.headers["X-Forwarded-Host"] = urlsplit(started.url).netloc
        yield started


async def transcribed(page: Page) -> None:
    async def enough() -> bool:
        return len(await shown(page)) >= SENTENCES

    await wait_until(enough, description="the sentences are shown", timeout=TRANSCRIBED_WITHIN / 1_000)


async def plays(page: Page) -> None:
    await page.get_by_role("button", name="Play", exact=True).click()

    async def moves() -> bool:
        return bool(await page.locator("audio").evaluate("(audio) => audio.currentTime > 0"))

    await wait_until(moves, description="it plays")
    await expect(page.locator(".player .problem")).to_be_hidden()


async def test_everything_of_the_page_is_below_the_prefix(
    speaking: Browser, proxy: Proxy, mount: Mount, screenshots: Path, tmp_path: Path
) -> None:
    async with window(speaking, proxy.url, path="/steno/", viewport=HEIGHT) as page:
        wire = Wire(page)
        await start(page, "Below a prefix")
        await transcribed(page)
        await page.screenshot(path=screenshots / f"prefix-{mount.strip:d}-live.png")
        job = await finish(page)
        assert word_error_rate(spoken("standup", SENTENCES), await shown(page)) <= MAX_WORD_ERROR_RATE
        assert len(wire.accepted) == 1
        await page.get_by_role("link", name="Open the recording").click()
        await expect(page.locator(".player")).to_be_visible()
        assert page.url == f"{proxy.url}/steno/jobs/{job}"
        await plays(page)
        await page.get_by_text("Export").click()
        async with page.expect_download() as downloading:
            await page.get_by_role("link", name="Subtitles (SRT)").click()
        download = await downloading.value
        await download.save_as(tmp_path / "subtitles.srt")
        assert (download.suggested_filename, download.url) == (
            "Below a prefix.srt",
            f"{proxy.url}/steno/api/v1/jobs/{job}/transcript.srt",
        )
        assert "Good morning" in (tmp_path / "subtitles.srt").read_text()
        await page.reload()
        await expect(page.locator(".player")).to_be_visible()
        await page.screenshot(path=screenshots / f"prefix-{mount.strip:d}-job.png")
        await page.get_by_role("link", name="Recordings", exact=True).last.click()
        await page.get_by_label("Search").fill("morning")
        await expect(page.get_by_role("status").filter(has_text="1 found.")).to_be_visible()
        assert page.url == f"{proxy.url}/steno/jobs?q=morning"
        await page.get_by_role("link", name="Below a prefix").click()
        await expect(page.locator(".player")).to_be_visible()
        await page.get_by_role("link", name="Record", exact=True).click()
        await expect(page.get_by_role("button", name="Start recording")).to_be_visible()
        assert page.url == f"{proxy.url}/steno/"
        assert await page.evaluate("indexedDB.databases().then((all) => all.map(({ name }) => name))") == [
            "stenobus/steno/"
        ]
    assert mount.outside == []


async def test_the_reference_is_styled_and_its_links_lead_somewhere(
    speaking: Browser, proxy: Proxy, mount: Mount, screenshots: Path
) -> None:
    async with window(speaking, proxy.url, path="/steno/docs", viewport=HEIGHT) as page:
        await expect(page.get_by_text("Here, all paths are below /steno.")).to_be_visible()
        assert await page.locator("nav").evaluate("(nav) => getComputedStyle(nav).position") == "sticky"
        await page.screenshot(path=screenshots / f"prefix-{mount.strip:d}-docs.png")
        await page.get_by_role("link", name="openapi.json").click()
        await expect(page.get_by_text('"url": "/steno"')).to_be_visible()
    assert set(mount.outside) <= {"/favicon.ico"}  # the browser's own, as JSON names no icon


async def test_commands_accept_a_server_below_a_prefix(proxy: Proxy, mount: Mount) -> None:
    server = ("--server", f"{proxy.url}/steno/")

    async def command(*arguments: str) -> str:
        code, out, err = await run(*arguments, *server)
        assert code == 0, err
        return out

    await command("stream", str(SAMPLES / "quiet.flac"), "--fast", "--title", "Typed")
    job = json.loads((await command("jobs", "--json", "-q", "Typed")).splitlines()[0])["job_id"]
    text = await command("export", job)
    assert word_error_rate(spoken("quiet"), text.splitlines()) <= MAX_WORD_ERROR_RATE
    assert "The release is on track." in await command("job", job)
    await command("replay", job, "--wait")
    await command("rm", job, "--yes")
    assert mount.outside == []


@pytest.mark.parametrize("system", [CONFIGURED], indirect=True)
async def test_a_server_with_a_prefix_can_be_used_without_the_proxy(system: System, speaking: Browser) -> None:
    async with window(speaking, system.url, viewport=HEIGHT) as page:
        await start(page)
        await transcribed(page)
        job = await finish(page)
        await page.get_by_role("link", name="Open the recording").click()
        await plays(page)
        assert page.url == f"{system.url}/steno/jobs/{job}"


@pytest.mark.parametrize("system", [NAMED], indirect=True)
async def test_behind_a_proxy_that_does_not_tell_its_prefix_the_page_works_and_commands_say_what_is_wrong(
    system: System, speaking: Browser
) -> None:
    silent = Mount("/elsewhere", strip=True)
    async with (
        proxying(system.url, silent) as proxy,
        window(speaking, proxy.url, path="/elsewhere/", viewport=HEIGHT) as page,
    ):
        await start(page)
        await transcribed(page)
        await finish(page)
        await page.get_by_role("link", name="Open the recording").click()
        await expect(page.locator(".player")).to_be_visible()
        await page.reload()
        await plays(page)
        await page.get_by_role("link", name="Record", exact=True).click()
        await expect(page.get_by_role("button", name="Start recording")).to_be_visible()
        assert silent.outside == []
        code, _, err = await run("stream", str(SAMPLES / "quiet.flac"), "--server", f"{proxy.url}/elsewhere")
        assert code == 1
        assert "a proxy must forward WebSockets, and the server must know its path prefix (EDGE_ROOT_PATH)" in err
