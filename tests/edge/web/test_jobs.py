"""Recordings in the page: files that are sent, the list, and one recording with its sound; everything is real."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Page, expect

from tests.edge.web.meeting import SAMPLES, shown, spoken, word_error_rate
from tests.edge.web.window import TRANSCRIBED_WITHIN, finished, window
from tests.edge.web.wire import Wire
from tests.support import wait_until
from tools.system import ROOT, System, running_system

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

MAX_WORD_ERROR_RATE = 0.02
PHONE = {"width": 360, "height": 740}

DROP = """({ name, type, content }) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  const drop = (kind) => new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true });
  const target = document.querySelector("main");
  for (const kind of ["dragenter", "dragover", "drop"]) target.dispatchEvent(drop(kind));
}"""

INK = """(wave) => {
  const canvases = [...wave.firstElementChild.shadowRoot.querySelectorAll("canvas")];
  return canvases.map((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, index) => index % 4 === 3 && value > 0).length;
  });
}"""
"""How many pixels of each canvas of the waveform are drawn."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    # Nothing answers there, so that the summaries are extractive.
    async with running_system(tmp_path_factory.mktemp("system"), OLLAMA_HOST="http://127.0.0.1:9") as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standup(system: System) -> str:
    return await stream(system, "standup", "Monday standup", "--fast")


@pytest_asyncio.fixture(loop_scope="module")
async def on_standup(system: System, chromium: Browser, standup: str) -> AsyncIterator[Page]:
    """The page of that recording, with its waveform."""
    async with window(chromium, system.url, path=f"/jobs/{standup}", viewport={"width": 1280, "height": 800}) as page:
        await expect(page.locator(".wave canvas").first).to_be_visible()
        yield page


async def stream(system: System, sample: str, title: str, *arguments: str) -> str:
    """Have the command stream a sample; gives the job's id when it is finished."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", "stream", str(SAMPLES / f"{sample}.flac")),
        *("--server", system.url, "--title", title, *arguments),
        cwd=ROOT,
        stdout=DEVNULL,
        stderr=DEVNULL,
    )
    assert await process.wait() == 0
    return str((await listed(system, q=title))[0]["job_id"])


async def listed(system: System, **query: Any) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=system.url) as http:
        return list((await http.get("/api/v1/jobs", params=query)).json()["jobs"])


async def record(system: System, job: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=system.url) as http:
        return dict((await http.get(f"/api/v1/jobs/{job}")).json())


async def position(page: Page) -> float:
    return float(await page.locator("audio").evaluate("(audio) => audio.currentTime"))


async def playing(page: Page) -> bool:
    return bool(await page.locator("audio").evaluate("(audio) => !audio.paused"))


async def test_a_dropped_file_is_transcribed(system: System, chromium: Browser) -> None:
    content = base64.b64encode((SAMPLES / "standup.flac").read_bytes()).decode()
    async with window(chromium, system.url) as page:
        wire = Wire(page)
        await expect(page.get_by_role("button", name="Start recording")).to_be_visible()
        await page.evaluate(DROP, {"name": "standup.flac", "type": "audio/flac", "content": content})
        await expect(page.get_by_role("heading", name="standup")).to_be_visible()
        job = await finished(page)
        assert word_error_rate(spoken("standup"), await shown(page)) <= MAX_WORD_ERROR_RATE
        found = await record(system, job)
        assert (found["title"], found["source"]) == ("standup", "upload")
        assert [segment["text"] for segment in found["segments"]] == await shown(page)
        assert set(wire.connections[0].frames[:-1]) == {15_360}


async def test_a_chosen_file_is_transcribed_with_the_options(system: System, chromium: Browser) -> None:
    async with window(chromium, system.url) as page:
        await page.get_by_label("Title").fill("주간 회의")
        await page.get_by_label("Language").select_option("ko")
        await page.get_by_label("Write a summary").uncheck()
        await page.get_by_label("Choose a file").set_input_files(SAMPLES / "korean.flac")
        job = await finished(page)
        assert word_error_rate(spoken("korean"), await shown(page)) <= MAX_WORD_ERROR_RATE
        await expect(page.locator(".summary")).to_have_text("No summary was requested.")
        options = (await record(system, job))["options"]
        assert (options["title"], options["language"], options["summary"]) == ("주간 회의", "ko", False)
        assert await page.locator(".lines p").first.get_attribute("lang") == "ko"


async def test_a_file_without_sound_is_refused_without_a_job(system: System, chromium: Browser) -> None:
    before = await listed(system)
    async with window(chromium, system.url) as page:
        notes = FilePayload(name="notes.txt", mimeType="text/plain", buffer=b"These are words.")
        await page.get_by_label("Choose a file").set_input_files(notes)
        await expect(page.get_by_role("alert")).to_contain_text("“notes.txt” has no sound that this browser can read.")
        await expect(page.get_by_role("button", name="Start recording")).to_be_enabled()
    assert await listed(system) == before


async def test_the_list_can_be_searched_and_opens_a_recording(
    system: System, chromium: Browser, standup: str, screenshots: Path
) -> None:
    await stream(system, "quiet", "Quiet talk", "--fast")
    async with window(chromium, system.url, path="/jobs", viewport={"width": 1280, "height": 800}) as page:
        found = page.locator(".jobs li")
        await expect(found.filter(has_text="Quiet talk")).to_be_visible()
        await page.screenshot(path=screenshots / "list.png")
        await page.get_by_role("searchbox", name="Search").fill("CONTRACT tomorrow standup")
        await expect(found.first.locator("mark").first).to_have_text("standup")
        await expect(found.filter(has_text="Quiet talk")).to_be_hidden()
        await expect(found.first.locator(".snippet mark").first).to_have_text("contract")
        await page.screenshot(path=screenshots / "search.png")
        await page.reload()
        await expect(page.get_by_role("searchbox", name="Search")).to_have_value("CONTRACT tomorrow standup")
        await expect(found.first).to_contain_text("standup")
        await page.get_by_role("searchbox", name="Search").fill("xylophone")
        await expect(page.get_by_role("status").filter(has_text="Nothing was found.")).to_be_visible()
        await expect(found).to_have_count(0)
        await page.get_by_role("searchbox", name="Search").fill("Monday standup")
        await found.first.click()
        await expect(page.get_by_role("heading", name="Monday standup", level=1)).to_be_visible()
        assert page.url == f"{system.url}/jobs/{standup}"
        await page.go_back()
        await expect(page.get_by_role("heading", name="Recordings")).to_be_visible()


async def test_the_list_has_pages_and_can_be_filtered_by_state(
    system: System, chromium: Browser, standup: str, screenshots: Path
) -> None:
    async with httpx.AsyncClient(base_url=system.url) as http:
        for number in range(50):
            await http.post("/api/v1/stream/create", json={"title": f"Planned {number}"})
    async with window(chromium, system.url, path="/jobs", viewport=PHONE) as page:
        found = page.locator(".jobs li")
        await expect(found.first).to_contain_text("Planned 49")
        await page.screenshot(path=screenshots / "list-phone.png")
        for number in (40, 20, 0):
            await found.last.scroll_into_view_if_needed()
            await page.get_by_text(f"Planned {number}", exact=True).scroll_into_view_if_needed()
        titles = await page.locator(".jobs .title").all_inner_texts()
        assert len(set(titles)) >= 50
        await page.get_by_role("button", name="Finished").click()
        await expect(page.get_by_text("Planned 49")).to_be_hidden()
        await expect(found.filter(has_text="Monday standup").first).to_be_visible()
        await page.get_by_role("button", name="Failed").click()
        await expect(page.get_by_text("There are none.")).to_be_visible()


async def test_a_click_on_a_sentence_plays_it(
    system: System, on_standup: Page, standup: str, screenshots: Path
) -> None:
    page = on_standup
    ink = await page.locator(".wave").evaluate(INK)
    assert len(ink) >= 2
    assert min(ink) > 500
    await page.screenshot(path=screenshots / "job.png")
    segments = (await record(system, standup))["segments"]
    sentence = next(segment for segment in segments if segment["text"] == "We need two more testers.")
    line = page.locator(".lines li").filter(has_text="We need two more testers.")
    await page.locator("audio").evaluate("(audio) => { audio.playbackRate = 0.25; }")  # so that there is time to look
    await line.get_by_role("button").click()
    await wait_until(lambda: playing(page), description="it plays")
    await expect(line).to_have_attribute("aria-current", "true")
    assert sentence["start"] <= await position(page) < sentence["end"]
    await expect(line.locator(".playing")).to_be_visible()
    await page.screenshot(path=screenshots / "job-playing.png")
    word = next(word for word in segments[4]["words"] if word["word"].strip() == "contract")
    await page.locator(".lines li").nth(4).get_by_text("contract").click()
    await wait_until(lambda: at(page, word["start"]), description="the word is played")
    await page.get_by_role("button", name="Pause").click()
    assert not await playing(page)


async def at(page: Page, seconds: float) -> bool:
    return seconds - 0.05 <= await position(page) < seconds + 1


async def test_the_keyboard_plays_and_moves(system: System, on_standup: Page, standup: str) -> None:
    page = on_standup
    segments = (await record(system, standup))["segments"]
    await page.keyboard.press("Space")
    await wait_until(lambda: playing(page), description="space plays")
    await page.keyboard.press("Space")
    assert not await playing(page)
    before = await position(page)
    await page.keyboard.press("ArrowRight")
    await wait_until(lambda: at(page, before + 5), description="five seconds on")
    await page.keyboard.press("ArrowLeft")
    await wait_until(lambda: at(page, before), description="and back")
    await page.locator("audio").evaluate("(audio) => { audio.currentTime = 0; }")
    for key, index in (("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("ArrowUp", 0), ("ArrowUp", 0)):
        await page.keyboard.press(key)
        await wait_until(lambda index=index: at(page, segments[index]["start"]), description=f"sentence {index}")
        await expect(page.locator(".lines li").nth(index)).to_have_attribute("aria-current", "true")
    await page.get_by_role("button", name="Speed 1").click()
    await expect(page.get_by_role("button", name="Speed 1.25")).to_be_visible()
    assert await page.locator("audio").evaluate("(audio) => audio.playbackRate") == 1.25
    await page.get_by_role("slider", name="Position").click(position={"x": 5, "y": 20})
    await wait_until(lambda: at(page, 0), description="a click into the waveform goes there")


@pytest.mark.parametrize(
    ("name", "extension", "begins"),
    [
        ("Text", "txt", "Good morning everyone."),
        ("Minutes (Markdown)", "md", "# Monday standup"),
        ("Subtitles (SRT)", "srt", "1\n00:00:0"),
        ("Subtitles (WebVTT)", "vtt", "WEBVTT"),
        ("Data (JSON)", "json", "{"),
        ("Sound (WAV)", "wav", "RIFF"),
    ],
)
async def test_a_recording_can_be_exported(
    on_standup: Page, tmp_path: Path, name: str, extension: str, begins: str
) -> None:
    await on_standup.get_by_text("Export").click()
    async with on_standup.expect_download() as downloading:
        await on_standup.get_by_role("link", name=name).click()
    download = await downloading.value
    path = tmp_path / download.suggested_filename
    await download.save_as(path)
    assert path.name == f"Monday standup.{extension}"
    assert begins in path.read_bytes().decode("latin-1")
    await expect(on_standup.get_by_role("link", name=name)).to_be_hidden()


async def test_a_recording_is_deleted_after_confirmation(system: System, chromium: Browser, screenshots: Path) -> None:
    job = await stream(system, "quiet", "To be erased", "--fast")
    async with window(chromium, system.url, path=f"/jobs/{job}", viewport={"width": 1280, "height": 800}) as page:
        await page.get_by_role("button", name="Delete").click()
        dialog = page.get_by_role("dialog", name="Delete “To be erased”?")
        await expect(dialog).to_be_visible()
        await page.screenshot(path=screenshots / "delete.png")
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        assert (await record(system, job))["state"] == "completed"
        await page.get_by_role("button", name="Delete").click()
        await dialog.get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("“To be erased” was deleted.")).to_be_visible()
        assert page.url == f"{system.url}/jobs"
        await expect(page.locator(".jobs li").first).to_be_visible()
        await expect(page.locator(".jobs").get_by_text("To be erased")).to_be_hidden()
        assert (await record(system, job))["status"] == 410
        await page.goto(f"{system.url}/jobs/{job}")
        await expect(page.get_by_role("alert")).to_contain_text("was erased at")


async def test_a_live_recording_is_followed(system: System, chromium: Browser) -> None:
    streaming = asyncio.create_task(stream(system, "quiet", "Followed"))
    await wait_until(lambda: listed(system, q="Followed"), description="it has begun")
    (job,) = await listed(system, q="Followed")
    async with window(chromium, system.url, path=f"/jobs/{job['job_id']}") as page:
        await expect(page.locator(".job .badge")).to_have_text("Live")
        await expect(page.locator(".lines li")).to_have_count(1, timeout=TRANSCRIBED_WITHIN)
        await expect(page.locator(".player")).to_have_count(0)
        await streaming
        await expect(page.locator(".player")).to_be_visible(timeout=20_000)
        assert word_error_rate(spoken("quiet"), await shown(page)) <= MAX_WORD_ERROR_RATE
        await expect(page.locator(".author")).to_contain_text("no language model was available")


@pytest.mark.parametrize("job", ["nobody", "%3Cimg%20src=x%3E"])
async def test_an_unknown_recording_is_explained(system: System, chromium: Browser, job: str) -> None:
    async with window(chromium, system.url, path=f"/jobs/{job}") as page:
        await expect(page.get_by_role("alert")).to_contain_text("o job")
        await page.get_by_role("link", name="All recordings").click()
        await expect(page.get_by_role("heading", name="Recordings")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/{job}"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_fits_a_phone_in_both_themes(
    system: System, chromium: Browser, standup: str, screenshots: Path, path: str, scheme: str
) -> None:
    place = path.format(job=standup)
    async with window(chromium, system.url, path=place, viewport=PHONE, color_scheme=scheme) as page:
        await expect(page.locator("h1")).to_be_visible()
        await expect(page.locator("[aria-busy=true]")).to_have_count(0)
        name = {"/": "start", "/jobs": "list"}.get(path, "job")
        await page.screenshot(path=screenshots / f"{name}-phone-{scheme}.png")
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(json.loads(dark.replace("rgb(", "[").replace(")", "]"))) < 384) == (scheme == "dark")


async def test_the_chosen_theme_is_remembered(system: System, chromium: Browser) -> None:
    async with window(chromium, system.url, color_scheme="dark") as page:
        background = "getComputedStyle(document.body).backgroundColor"
        dark = await page.evaluate(background)
        await page.get_by_role("button", name="Theme: as the system").click()
        light = await page.evaluate(background)
        assert light != dark
        await page.reload()
        assert await page.evaluate(background) == light
        await page.get_by_role("button", name="Theme: light").click()
        assert await page.evaluate(background) == dark
        await page.get_by_role("button", name="Theme: dark").click()
        await expect(page.get_by_role("button", name="Theme: as the system")).to_be_visible()
