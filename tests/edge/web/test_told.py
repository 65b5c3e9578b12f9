"""What the page makes of bad times: servers that are full, lines that die, microphones that are none."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, FilePayload, Page, expect

from tests.edge.web.script import JOB, Server
from tests.edge.web.site import Site
from tests.edge.web.window import start, window
from tests.support import wait_until
from tools.browser import browser

pytestmark = pytest.mark.asyncio(loop_scope="module")

MARKUP = '<img src=x onerror="throw 1">'


@pytest.fixture
def server() -> Server:
    return Server()


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser, site: Site, server: Server) -> AsyncIterator[Page]:
    async with window(chromium, site.url, before=server.attach) as opened:
        yield opened


async def test_a_server_that_is_full_is_tried_again_when_it_asks_for_that(page: Page, server: Server) -> None:
    full = {"status": 503, "detail": "this server has 3 captures, as many as it takes", "retry_after": 1}
    server.answers["POST /api/v1/stream/create"].insert(0, (503, full))
    await page.get_by_label("Title").fill("Full house")
    await page.get_by_label("Language").select_option("en")
    await page.get_by_role("button", name="Start recording").click()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("This server has 3 captures, as many as it takes. It asks for 1 s before")
    again = page.get_by_role("button", name="Try again")
    await expect(again).to_be_disabled()
    await again.click()  # once it is enabled
    await expect(page.locator(".phase")).to_have_text("Recording")
    bodies = [body for asked, body in server.asked if asked == "POST /api/v1/stream/create"]
    assert bodies == [{"title": "Full house", "language": "en"}] * 2


async def test_a_refusal_is_told_as_it_is(page: Page, server: Server) -> None:
    server.answers["POST /api/v1/stream/create"] = [(422, {"detail": "title: String should have at most 200"})]
    await page.get_by_role("button", name="Start recording").click()
    await expect(page.get_by_role("alert")).to_have_text("Title: String should have at most 200.")
    await expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    await expect(page.get_by_role("button", name="Start recording")).to_be_enabled()


async def test_the_socket_is_at_the_server_of_the_page_whatever_its_name_is_inside(page: Page, server: Server) -> None:
    await start(page)
    socket = await server.socket(1)
    assert socket.url == page.url.replace("http", "ws") + f"api/v1/stream/{JOB}?sample=0"


async def test_a_line_that_is_refused_is_opened_again_and_gets_all_of_the_sound(page: Page, server: Server) -> None:
    server.silent = True
    await start(page)
    first = await server.socket(1)
    first.say("error", code="unavailable", message="the bus does not answer", retry_after=1)
    await first.close(1013)
    await expect(page.get_by_role("alert")).to_contain_text(
        "No connection: the bus does not answer. What you say is kept here meanwhile."
    )
    second = await server.socket(2)
    second.welcome(0)
    await second.heard()
    assert (len(first.pcm), second.sample) == (0, 0)
    second.say("ack", samples=1_600)
    await expect(page.locator(".saved")).to_have_text("0.1 s saved")
    await second.close(1012)
    third = await server.socket(3)
    assert third.sample == 1_600
    third.welcome(2_400)
    await third.heard(2_400)
    assert third.pcm[:3_200] == second.pcm[4_800:8_000]


async def test_a_line_that_has_died_without_a_word_is_given_up(page: Page, server: Server) -> None:
    await page.clock.install()
    await start(page)
    first = await server.socket(1)
    await first.heard()
    await page.clock.fast_forward(16_000)
    second = await server.socket(2)
    assert (await first.closed)[0] == 4901
    await second.heard()
    assert second.pcm[:9_600] == first.pcm[:9_600]


async def test_a_line_lasts_through_a_long_pause(page: Page, server: Server) -> None:
    await page.clock.install()
    await start(page)
    socket = await server.socket(1)
    await socket.heard()
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("button", name="Go on recording")).to_be_visible()
    socket.say("ack", samples=len(socket.pcm) // 2)
    await expect(page.locator(".saved")).not_to_have_text("0.0 s saved")
    await page.clock.run_for(45_000)
    await wait_until(lambda: socket.commands == ["keepalive"] * 2, description="the server hears of it meanwhile")
    before = len(socket.pcm) // 2
    await page.get_by_role("button", name="Go on recording").click()
    await socket.heard(before + 4_800)
    await page.clock.run_for(5_000)
    await socket.heard(before + 9_600)
    assert len(server.sockets) == 1


async def test_a_line_that_dies_before_the_summary_does_not_keep_it_from_the_page(page: Page, server: Server) -> None:
    await page.clock.install()
    await start(page)
    first = await server.socket(1)
    await first.heard()
    await page.get_by_role("button", name="Finish").click()
    await wait_until(lambda: first.commands == ["stop"], description="stop is said")
    first.say("ack", samples=len(first.pcm) // 2)
    duration = len(first.pcm) / 32_000
    summary = {"title": "In the end", "summary": "It was said.", "engine": "ollama", "model": "gemma3"}
    server.answers[f"GET /api/v1/jobs/{JOB}"] = [
        (503, {"detail": "the bus does not answer"}),
        (200, record(state="summarizing", duration=None)),
        (200, record(summary=summary, duration=duration)),
    ]
    await page.clock.fast_forward(61_000)
    await (await server.socket(2)).close(4009)
    for _ in range(2):
        await wait_until(lambda: len(server.answers[f"GET /api/v1/jobs/{JOB}"]) < 3, description="it looks")
        await page.clock.run_for(3_000)
    await expect(page.get_by_role("heading", name="In the end", level=1)).to_be_visible()
    await expect(page.locator(".lines p")).to_have_text("a b")
    assert len(server.sockets) == 2


async def test_what_is_being_said_is_shown_and_then_replaced(page: Page, server: Server, screenshots: Path) -> None:
    await start(page, "Interim results")
    socket = await server.socket(1)
    socket.final(0, "Good morning everyone.")
    socket.say("speech_started", start=2.0)
    await expect(page.locator(".partial.listening")).to_be_visible()
    socket.say("partial", start=2.0, text="The prototype is all most", stable=16)
    socket.say("status", state="streaming", lag=1.4)
    await expect(page.locator(".stable")).to_have_text("The prototype is")
    await expect(page.locator(".unstable")).to_have_text(" all most")
    await expect(page.get_by_text("Text is 1.4 s behind")).to_be_visible()
    await page.screenshot(path=screenshots / "partial.png")
    socket.final(1, "The prototype is almost finished.", speaker="Emma")
    finals = ["0:00Good morning everyone.", "0:02EmmaThe prototype is almost finished."]
    await expect(page.locator(".lines li")).to_have_text(finals)
    await expect(page.locator(".partial")).to_have_count(0)
    socket.say("partial", start=2.0, text="too late", stable=0)
    socket.final(2, MARKUP)
    await expect(page.locator(".lines li").nth(2)).to_contain_text(MARKUP)
    await expect(page.get_by_text("too late")).to_have_count(0)


async def test_a_passage_that_failed_is_told_and_later_made_good(page: Page, server: Server) -> None:
    await start(page)
    socket = await server.socket(1)
    socket.final(1, "Second.")
    socket.final(0, "", error="out of memory")
    lines = page.locator(".lines p")
    await expect(lines).to_have_text(["This passage could not be transcribed.", "Second."])
    socket.final(0, "First.")
    await expect(lines).to_have_text(["First.", "Second."])
    socket.final(0, "", error="out of memory")
    socket.final(2, "Third.")
    await expect(lines).to_have_text(["First.", "Second.", "Third."])


async def test_a_recording_that_another_window_has_is_left_to_it(page: Page, server: Server) -> None:
    await start(page)
    await (await server.socket(1)).close(4010, "taken_over")
    await expect(page.locator(".phase")).to_have_text("In another window")
    await expect(page.get_by_role("alert").filter(has_text="goes on in another window")).to_be_visible()
    await expect(page.get_by_role("link", name="Save as a file")).to_have_count(0)


async def test_sound_that_no_server_takes_can_be_kept_as_a_file(page: Page, server: Server, tmp_path: Path) -> None:
    await start(page)
    socket = await server.socket(1)
    await socket.heard(9_600)
    socket.say("ack", samples=1_600)
    await expect(page.locator(".saved")).to_have_text("0.1 s saved")
    socket.say("error", code="unauthorised", message="the key was withdrawn")
    await socket.close(4001)
    await expect(page.locator(".phase")).to_have_text("Ended early")
    await expect(page.get_by_role("alert").filter(has_text="The key was withdrawn.")).to_contain_text("did not reach")
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Save as a file").click()
    path = tmp_path / "unsaved.wav"
    await (await downloading.value).save_as(path)
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        assert file.readframes(8_000) == bytes(socket.pcm[3_200:19_200])
    await page.reload()  # it is tried again
    again = await server.socket(2)
    await again.heard(8_000)
    assert (again.sample, again.pcm[:16_000]) == (1_600, socket.pcm[3_200:19_200])
    await again.close(4001)
    await page.get_by_role("button", name="Discard").click()
    await expect(page.get_by_role("button", name="Start recording")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("button", name="Start recording")).to_be_visible()
    assert len(server.sockets) == 2


async def test_a_job_that_is_lost_on_the_server_goes_on_as_another(page: Page, server: Server) -> None:
    await start(page, "Lost")
    first = await server.socket(1)
    await first.heard(9_600)
    first.say("ack", samples=1_600)
    await expect(page.locator(".saved")).to_have_text("0.1 s saved")
    server.answers["POST /api/v1/stream/create"] = [(201, {"job_id": "c3d4", "ws_url": "/api/v1/stream/c3d4"})]
    await first.close(4004)
    second = await server.socket(2)
    assert (second.url.partition("?")[0].rpartition("/")[2], second.sample) == ("c3d4", 0)
    await second.heard(8_000)
    assert second.pcm[:16_000] == first.pcm[3_200:19_200]


async def test_a_microphone_that_opens_too_late_is_closed_again(page: Page, server: Server) -> None:
    await page.evaluate(
        """() => {
          const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          window.opened = [];
          navigator.mediaDevices.getUserMedia = async (wanted) => {
            const stream = await real(wanted);
            if (window.opened.push(stream) > 1) await new Promise((resolve) => (window.go = resolve));
            return stream;
          };
        }"""
    )
    await start(page)
    socket = await server.socket(1)
    await socket.heard()
    await page.get_by_role("button", name="Pause").click()
    again = page.get_by_role("button", name="Go on recording")
    await again.click()
    await again.click()
    await wait_until(lambda: page.evaluate("Boolean(window.go)"), description="the microphone is being opened")
    await socket.close(4001)
    await expect(page.locator(".phase")).to_have_text("Ended early")
    await page.evaluate("go()")
    states = "opened.map((stream) => stream.getAudioTracks()[0].readyState)"

    async def closed() -> bool:
        return bool(await page.evaluate(states) == ["ended", "ended"])

    await wait_until(closed, description="both times it was closed")
    await expect(page.locator(".phase")).to_have_text("Ended early")


async def test_a_page_that_is_left_asks_the_job_to_wait(page: Page, server: Server) -> None:
    await start(page)
    socket = await server.socket(1)
    await socket.heard()
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    assert await socket.closed == (4900, "back soon")


async def test_a_microphone_that_is_not_allowed_makes_no_job(site: Site, server: Server) -> None:
    async with (
        browser(None, "--use-fake-ui-for-media-stream=deny") as chromium,
        window(chromium, site.url, before=server.attach, allowed=False) as opened,
    ):
        await opened.get_by_role("button", name="Start recording").click()
        await expect(opened.get_by_role("alert")).to_contain_text("The browser may not use the microphone. Allow it")
        await expect(opened.get_by_role("button", name="Start recording")).to_be_enabled()
    assert "POST /api/v1/stream/create" not in [asked for asked, _ in server.asked]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NotFoundError", "No microphone was found. Plug one in, or choose a file instead."),
        ("NotReadableError", "The microphone cannot be read: another program may be using it."),
        ("OverconstrainedError", "The chosen microphone is not there any more. Choose another one."),
        ("SomethingNew", "The microphone could not be opened: it is odd."),
    ],
)
async def test_without_a_microphone_the_reason_is_told(page: Page, name: str, says: str) -> None:
    refuse = "() => Promise.reject(new DOMException('it is odd', name))"
    await page.evaluate(f"(name) => {{ navigator.mediaDevices.getUserMedia = {refuse}; }}", name)
    await page.get_by_role("button", name="Start recording").click()
    await expect(page.get_by_role("alert")).to_have_text(says)


async def test_a_microphone_that_is_unplugged_pauses_the_recording(page: Page, server: Server) -> None:
    await page.evaluate(
        """() => {
          const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await real(wanted));
        }"""
    )
    await start(page)
    await (await server.socket(1)).heard()
    await page.evaluate("stream.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
    await expect(page.locator(".phase")).to_have_text("Paused")
    await expect(page.get_by_role("alert")).to_contain_text("The microphone is gone: it was unplugged")
    await page.get_by_role("button", name="Go on recording").click()
    await expect(page.locator(".phase")).to_have_text("Recording")
    await expect(page.get_by_text("The microphone is gone")).to_have_count(0)


async def test_a_page_from_an_insecure_address_says_so_and_still_takes_files(site: Site, server: Server) -> None:
    url = site.url.replace("127.0.0.1", "stenobus.example")
    async with (
        browser(None, "--host-resolver-rules=MAP stenobus.example 127.0.0.1") as chromium,
        window(chromium, url, before=server.attach, allowed=False) as opened,
    ):
        await expect(opened.get_by_role("alert")).to_contain_text(
            f"Browsers give the microphone only to pages from https:// or from this very machine (http://localhost). "
            f"This page comes from {url}."
        )
        await expect(opened.get_by_role("button", name="Start recording")).to_be_disabled()
        sound = FilePayload(name="beep.wav", mimeType="audio/wav", buffer=beep())
        await opened.get_by_label("Choose a file").set_input_files(sound)
        socket = await server.socket(1)
        await socket.heard(16_000)
        assert len(socket.pcm) == 32_000
        assert ("POST /api/v1/stream/create", {"title": "beep", "source": "upload"}) in server.asked


def beep() -> bytes:
    """A second of sound as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(b"\0\x10\0\xf0" * 8_000)
    return file.getvalue()


def record(**more: Any) -> dict[str, Any]:
    """A finished job."""
    words = [{"word": word, "start": 0.1 * n, "end": 0.1 * n + 0.1, "probability": 1} for n, word in enumerate("ab")]
    return {
        "job_id": JOB,
        "state": "completed",
        "title": MARKUP,
        "source": "live",
        "created_at": "2026-01-02T03:04:05+00:00",
        "options": {"language": None},
        "duration": 3.0,
        "segments": [
            {"index": 0, "start": 0, "end": 1.5, "text": "a b", "language": "en", "words": words, "speaker": 1}
        ],
        "summary": None,
    } | more


async def test_sound_that_is_not_kept_any_more_leaves_the_text(page: Page, server: Server) -> None:
    server.answers[f"GET /api/v1/jobs/{JOB}"] = [(200, record())]
    server.answers[f"GET /api/v1/jobs/{JOB}/peaks"] = [(410, {"detail": "the audio of job 'a1b2' is no longer stored"})]
    await page.goto(f"{page.url}jobs/{JOB}")
    await expect(page.get_by_text("The audio of job 'a1b2' is no longer stored.")).to_be_visible()
    await expect(page.locator(".lines li")).to_contain_text("1a b")
    await expect(page.get_by_role("heading", name=MARKUP)).to_be_visible()
    await page.locator(".lines").get_by_role("button").click()
    await expect(page.get_by_text("There is no sound to play.")).to_be_visible()


async def test_what_other_processors_found_is_shown(page: Page, server: Server, screenshots: Path) -> None:
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


async def test_a_recording_that_cannot_be_deleted_stays_and_says_why(page: Page, server: Server) -> None:
    server.answers[f"GET /api/v1/jobs/{JOB}"] = [(200, record())]
    server.answers[f"DELETE /api/v1/jobs/{JOB}"] = [(409, {"detail": "job 'a1b2' is live: stop it first"})]
    await page.goto(f"{page.url}jobs/{JOB}")
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("Job 'a1b2' is live: stop it first.")).to_be_visible()
    await expect(page.locator(".lines li")).to_be_visible()


async def test_a_list_that_cannot_be_had_says_why(page: Page, server: Server) -> None:
    server.answers["GET /api/v1/jobs"] = [(503, {"detail": "Redis does not answer", "retry_after": 2})]
    await page.get_by_role("link", name="Recordings").click()
    await expect(page.get_by_role("status").filter(has_text="Redis does not answer.")).to_be_visible()


async def test_a_search_that_has_not_seen_everything_says_so_and_goes_on(page: Page, server: Server) -> None:
    item = {
        "job_id": JOB,
        "state": "completed",
        "title": "Found",
        "created_at": "2026-01-02T03:04:05+00:00",
        "text": "",
    }
    await wait_until(lambda: server.asked, description="the start page has its list")
    server.answers["GET /api/v1/jobs"] = [
        (200, {"jobs": [], "next_cursor": "x", "searched": 1_000}),
        (200, {"jobs": [item], "next_cursor": None, "searched": 200}),
    ]
    await page.goto(f"{page.url}jobs?q=needle")
    await expect(page.locator(".jobs li")).to_have_count(1)
    await expect(page.get_by_role("status").filter(has_text="1 found.")).to_be_visible()
