"""Recording against a server whose answers the test chooses: full servers, dead connections, missing microphones."""

from __future__ import annotations

import io
import wave
from pathlib import Path

import pytest
from playwright.async_api import FilePayload, Page, expect

from tests.edge.web.scripted_server import JOB, MARKUP, Server, record
from tests.edge.web.site import Site
from tests.edge.web.window import start, window
from tests.support import wait_until
from tools.browser import browser

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_full_server_is_asked_again_after_the_time_it_names(page: Page, server: Server) -> None:
    full = {"status": 503, "detail": "this server has 3 captures, as many as it takes", "retry_after": 1}
    server.answers["POST /api/v1/stream/create"].insert(0, (503, full))
    await page.get_by_label("Title").fill("Full house")
    await page.get_by_label("Language").select_option("en")
    await page.get_by_role("button", name="Start recording").click()
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("This server has 3 captures, as many as it takes. The server asks to wait 1 s")
    again = page.get_by_role("button", name="Try again")
    await expect(again).to_be_disabled()
    await again.click()  # once it is enabled
    await expect(page.locator(".phase")).to_have_text("Recording")
    bodies = [body for name, body in server.requests if name == "POST /api/v1/stream/create"]
    assert bodies == [{"title": "Full house", "language": "en"}] * 2


async def test_a_refusal_is_shown(page: Page, server: Server) -> None:
    server.answers["POST /api/v1/stream/create"] = [(422, {"detail": "title: String should have at most 200"})]
    await page.get_by_role("button", name="Start recording").click()
    await expect(page.get_by_role("alert")).to_have_text("Title: String should have at most 200.")
    await expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    await expect(page.get_by_role("button", name="Start recording")).to_be_enabled()


async def test_the_socket_is_on_the_server_of_the_page(page: Page, server: Server) -> None:
    await start(page)
    socket = await server.socket(1)
    assert socket.url == page.url.replace("http", "ws") + f"api/v1/stream/{JOB}?sample=0"


async def test_a_refused_connection_is_opened_again_and_gets_all_sound(page: Page, server: Server) -> None:
    server.silent = True
    await start(page)
    first = await server.socket(1)
    first.say("error", code="unavailable", message="the bus does not answer", retry_after=1)
    await first.close(1013)
    await expect(page.get_by_role("alert")).to_contain_text(
        "No connection: the bus does not answer. What you say is stored in this browser meanwhile."
    )
    second = await server.socket(2)
    second.welcome(0)
    await second.received()
    assert (len(first.pcm), second.sample) == (0, 0)
    second.say("ack", samples=1_600)
    await expect(page.locator(".saved")).to_have_text("0.1 s saved")
    await second.close(1012)
    third = await server.socket(3)
    assert third.sample == 1_600
    third.welcome(2_400)
    await third.received(2_400)
    assert third.pcm[:3_200] == second.pcm[4_800:8_000]


async def test_a_dead_connection_is_replaced(page: Page, server: Server) -> None:
    await page.clock.install()
    await start(page)
    first = await server.socket(1)
    await first.received()
    await page.clock.fast_forward(16_000)
    second = await server.socket(2)
    assert (await first.closed)[0] == 4901
    await second.received()
    assert second.pcm[:9_600] == first.pcm[:9_600]


async def test_a_connection_survives_a_long_pause(page: Page, server: Server) -> None:
    await page.clock.install()
    await start(page)
    socket = await server.socket(1)
    await socket.received()
    await page.get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("button", name="Continue recording")).to_be_visible()
    socket.say("ack", samples=len(socket.pcm) // 2)
    await expect(page.locator(".saved")).not_to_have_text("0.0 s saved")
    await page.clock.run_for(45_000)
    await wait_until(lambda: socket.commands == ["keepalive"] * 2, description="the server hears of it meanwhile")
    before = len(socket.pcm) // 2
    await page.get_by_role("button", name="Continue recording").click()
    await socket.received(before + 4_800)
    await page.clock.run_for(5_000)
    await socket.received(before + 9_600)
    assert len(server.sockets) == 1


async def test_the_summary_is_shown_although_the_connection_died_before_it(page: Page, server: Server) -> None:
    await page.clock.install()
    await start(page)
    first = await server.socket(1)
    await first.received()
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


async def test_interim_text_is_shown_and_then_replaced(page: Page, server: Server, screenshots: Path) -> None:
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
    socket.say("status", state="streaming", lag=1.4, trouble="NATS cannot write AUDIO: no space left on device")
    told = "The server waits: NATS cannot write AUDIO: no space left on device. What you say is stored in this browser"
    await expect(page.get_by_text(told)).to_be_visible()
    await page.screenshot(path=screenshots / "full.png")
    socket.say("status", state="streaming", lag=1.4)
    await expect(page.get_by_text(told)).to_have_count(0)
    socket.final(1, "The prototype is almost finished.", speaker="Emma")
    finals = ["0:00Good morning everyone.", "0:02EmmaThe prototype is almost finished."]
    await expect(page.locator(".lines li")).to_have_text(finals)
    await expect(page.locator(".partial")).to_have_count(0)
    socket.say("partial", start=2.0, text="too late", stable=0)
    socket.final(2, MARKUP)
    await expect(page.locator(".lines li").nth(2)).to_contain_text(MARKUP)
    await expect(page.get_by_text("too late")).to_have_count(0)


async def test_the_corrected_text_is_shown_at_the_end(page: Page, server: Server) -> None:
    await start(page)
    socket = await server.socket(1)
    await socket.received()
    socket.final(0, "The epic of belief.")
    socket.final(1, "Uh.")
    await expect(page.locator(".lines p")).to_have_text(["The epic of belief.", "Uh."])
    said = [
        {"index": index, "start": 2.0 * index, "end": 2.0 * index + 1.5, "text": text, "language": "en", "words": []}
        for index, text in enumerate(("The epoch of belief.", "", "The season of light."))
    ]
    server.answers[f"GET /api/v1/jobs/{JOB}"] = [(200, record(generation=2, segments=said))]
    await page.get_by_role("button", name="Finish").click()
    await wait_until(lambda: socket.commands == ["stop"], description="stop is said")
    summary = {"title": "Belief", "summary": "It was said.", "engine": "ollama", "model": "gemma3"}
    socket.say("final_summary", summary=summary, transcript="The epic of belief.\nUh.", total_segments=3)
    await expect(page.get_by_role("heading", name="Belief", level=1)).to_be_visible()
    await expect(page.locator(".lines p")).to_have_text(["The epoch of belief.", "The season of light."])


async def test_a_failed_segment_is_shown_and_later_replaced(page: Page, server: Server) -> None:
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


async def test_a_recording_in_another_window_is_left_alone(page: Page, server: Server) -> None:
    await start(page)
    await (await server.socket(1)).close(4010, "taken_over")
    await expect(page.locator(".phase")).to_have_text("In another window")
    await expect(page.get_by_role("alert").filter(has_text="continues in another window")).to_be_visible()
    await expect(page.get_by_role("link", name="Save as a file")).to_have_count(0)


async def test_sound_that_no_server_accepts_can_be_saved_as_a_file(page: Page, server: Server, tmp_path: Path) -> None:
    await start(page)
    socket = await server.socket(1)
    await socket.received(9_600)
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
    await again.received(8_000)
    assert (again.sample, again.pcm[:16_000]) == (1_600, socket.pcm[3_200:19_200])
    await again.close(4001)
    await page.get_by_role("button", name="Discard").click()
    await expect(page.get_by_role("button", name="Start recording")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("button", name="Start recording")).to_be_visible()
    assert len(server.sockets) == 2


async def test_a_job_that_the_server_lost_continues_as_another(page: Page, server: Server) -> None:
    await start(page, "Lost")
    first = await server.socket(1)
    await first.received(9_600)
    first.say("ack", samples=1_600)
    await expect(page.locator(".saved")).to_have_text("0.1 s saved")
    server.answers["POST /api/v1/stream/create"] = [(201, {"job_id": "c3d4", "ws_url": "/api/v1/stream/c3d4"})]
    await first.close(4004)
    second = await server.socket(2)
    assert (second.url.partition("?")[0].rpartition("/")[2], second.sample) == ("c3d4", 0)
    await second.received(8_000)
    assert second.pcm[:16_000] == first.pcm[3_200:19_200]


async def test_a_microphone_that_opens_too_late_is_closed(page: Page, server: Server) -> None:
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
    await socket.received()
    await page.get_by_role("button", name="Pause").click()
    again = page.get_by_role("button", name="Continue recording")
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


async def test_a_page_that_is_left_keeps_the_job_open(page: Page, server: Server) -> None:
    await start(page)
    socket = await server.socket(1)
    await socket.received()
    await page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide'))")
    assert await socket.closed == (4900, "back soon")


async def test_without_permission_no_job_is_created(site: Site, server: Server) -> None:
    async with (
        browser(None, "--use-fake-ui-for-media-stream=deny") as chromium,
        window(chromium, site.url, before=server.attach, allowed=False) as opened,
    ):
        await opened.get_by_role("button", name="Start recording").click()
        await expect(opened.get_by_role("alert")).to_contain_text("The browser has no permission to use")
        await expect(opened.get_by_role("button", name="Start recording")).to_be_enabled()
    assert "POST /api/v1/stream/create" not in [name for name, _ in server.requests]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NotFoundError", "No microphone was found. Plug one in, or choose a file instead."),
        ("NotReadableError", "The microphone cannot be read: another program may be using it."),
        ("OverconstrainedError", "The chosen microphone is no longer connected. Choose another one."),
        ("SomethingNew", "The microphone could not be opened: it is odd."),
    ],
)
async def test_a_missing_microphone_is_explained(page: Page, name: str, says: str) -> None:
    refuse = "() => Promise.reject(new DOMException('it is odd', name))"
    await page.evaluate(f"(name) => {{ navigator.mediaDevices.getUserMedia = {refuse}; }}", name)
    await page.get_by_role("button", name="Start recording").click()
    await expect(page.get_by_role("alert")).to_have_text(says)


async def test_an_unplugged_microphone_pauses_the_recording(page: Page, server: Server) -> None:
    await page.evaluate(
        """() => {
          const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = async (wanted) => (window.stream = await real(wanted));
        }"""
    )
    await start(page)
    await (await server.socket(1)).received()
    await page.evaluate("stream.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
    await expect(page.locator(".phase")).to_have_text("Paused")
    await expect(page.get_by_role("alert")).to_contain_text("The microphone was unplugged")
    await page.get_by_role("button", name="Continue recording").click()
    await expect(page.locator(".phase")).to_have_text("Recording")
    await expect(page.get_by_text("The microphone was unplugged")).to_have_count(0)


async def test_an_insecure_page_says_so_and_still_accepts_files(site: Site, server: Server, screenshots: Path) -> None:
    url = site.url.replace("127.0.0.1", "stenobus.example")
    async with (
        browser(None, "--host-resolver-rules=MAP stenobus.example 127.0.0.1") as chromium,
        window(chromium, url, before=server.attach, allowed=False) as opened,
    ):
        await expect(opened.get_by_role("alert")).to_contain_text(
            f"Browsers allow the microphone only on pages from https:// or from this machine (http://localhost). "
            f"This page is from {url}."
        )
        await expect(opened.get_by_role("button", name="Start recording")).to_be_disabled()
        await opened.screenshot(path=screenshots / "insecure.png")
        sound = FilePayload(name="beep.wav", mimeType="audio/wav", buffer=beep())
        await opened.get_by_label("Choose a file").set_input_files(sound)
        socket = await server.socket(1)
        await socket.received(16_000)
        assert len(socket.pcm) == 32_000
        assert ("POST /api/v1/stream/create", {"title": "beep", "source": "upload"}) in server.requests


def beep() -> bytes:
    """A second of sound as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(b"\0\x10\0\xf0" * 8_000)
    return file.getvalue()
