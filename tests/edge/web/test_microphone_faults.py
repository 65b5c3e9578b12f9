"""A microphone that fails while it is opened or used: the person is told, it is released, and later times are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from contract import RATE
from tests.edge.web.scripted_server import Server, Socket
from tests.edge.web.window import start
from tests.support import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTE = """() => {
  window.streams = [];
  window.contexts = [];
  const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    const stream = await getUserMedia(wanted);
    streams.push(stream);
    return stream;
  };
  window.AudioContext = class extends AudioContext {
    constructor(options) {
      super(options);
      contexts.push(this);
    }
    createMediaStreamSource(stream) {
      window.refuse?.(this);
      const source = super.createMediaStreamSource(stream);
      this.unplug = () => source.disconnect();
      this.plug = () => source.connect(this.recorder);
      source.connect = (node) => AudioNode.prototype.connect.call(source, (this.recorder = node));
      return source;
    }
    resume() {
      return window.stopped ? Promise.reject(new DOMException("", "InvalidStateError")) : super.resume();
    }
  };
}"""
"""Notes what the page opens. A test sets `refuse` to throw, and `stopped` while the system forbids audio."""

STEADY = """async () => {
  const context = new window.AudioContext();
  contexts.pop();
  const sound = new ConstantSourceNode(context, { offset: 0.5 });
  const destination = context.createMediaStreamDestination();
  sound.connect(destination);
  sound.start();
  await context.resume();
  navigator.mediaDevices.getUserMedia = async () => {
    streams.push(destination.stream);
    return destination.stream;
  };
}"""
"""A microphone whose samples all have the same value."""

MUTE = """(muted) => {
  const [track] = streams.at(-1).getAudioTracks();
  Object.defineProperty(track, "muted", { configurable: true, get: () => muted });
  track.enabled = !muted;
  track.dispatchEvent(new Event(muted ? "mute" : "unmute"));
}"""

SILENT = "silent because the microphone gave nothing"


@pytest_asyncio.fixture(loop_scope="module")
async def opened(page: Page) -> None:
    """The page, with what it opens noted."""
    await page.evaluate(NOTE)


async def states(page: Page) -> tuple[list[str], list[str]]:
    """Those of the tracks and of the contexts that the page has opened."""
    tracks = await page.evaluate("streams.map((stream) => stream.getAudioTracks()[0].readyState)")
    return tracks, await page.evaluate("contexts.map(({ state }) => state)")


async def released(page: Page) -> bool:
    """Whether the page has released each microphone, and whatever plays."""
    tracks, contexts = await states(page)
    return set(tracks) <= {"ended"} and set(contexts) <= {"closed"}


def samples(socket: Socket) -> np.ndarray:
    return np.frombuffer(bytes(socket.pcm), dtype="<i2")


def silences(socket: Socket) -> list[float]:
    """Lengths in seconds of the stretches of silence of more than half a second, behind the first sound."""
    sounds = np.flatnonzero(np.abs(samples(socket)) > 1_000)
    gaps = np.diff(sounds) / RATE
    return [float(gap) for gap in gaps if gap > 0.5]


async def recording(page: Page, server: Server) -> Socket:
    """Start a recording of a steady sound, and wait for its first second."""
    await page.evaluate(STEADY)
    await start(page)
    socket = await server.socket(1)
    await socket.received(RATE)
    return socket


async def problem(page: Page, says: str) -> None:
    await expect(page.locator(".problem")).to_contain_text(says)


async def fine(page: Page) -> None:
    await expect(page.locator(".problem")).to_be_hidden()


async def test_a_refused_rate_is_tried_again_with_others(page: Page, opened: None, server: Server) -> None:
    await page.evaluate(STEADY)
    await page.evaluate(
        """() => {
          window.refuse = ({ sampleRate }) => {
            if (sampleRate === 44_100 && contexts.length > 1) return;
            throw new DOMException("different rates", "NotSupportedError");
          };
        }"""
    )
    await start(page)
    socket = await server.socket(1)
    await socket.received(RATE)
    tracks, contexts = await states(page)
    assert (tracks, set(contexts[:-1]), contexts[-1]) == (["live"], {"closed"}, "running")
    assert len(contexts) >= 2
    await page.get_by_role("button", name="Finish").click()
    await wait_until(lambda: released(page), description="the microphone is released")
    assert set(samples(socket)[RATE // 2 : RATE]) <= set(range(16_300, 16_450))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NotSupportedError", "The browser does not accept the sample rate of this microphone. Choose another"),
        ("InvalidStateError", "The recorder could not be started: it is odd."),
    ],
)
async def test_a_microphone_that_is_refused_is_released(
    page: Page, opened: None, server: Server, screenshots: Path, name: str, says: str
) -> None:
    await page.evaluate("(name) => { window.refuse = () => { throw new DOMException('it is odd', name); }; }", name)
    await page.get_by_role("button", name="Start recording").click()
    await expect(page.get_by_role("alert").filter(has_text=says)).to_be_visible()
    await wait_until(lambda: released(page), description="the microphone is released")
    assert (await states(page))[0] == ["ended"]
    await page.screenshot(path=screenshots / f"refused-{name}.png")
    assert "POST /api/v1/stream/create" not in [request for request, _ in server.requests]
    await page.evaluate("delete window.refuse")
    await start(page)  # the next attempt is a new one
    await (await server.socket(1)).received()


async def test_audio_that_never_starts_is_told_and_the_microphone_released(
    page: Page, opened: None, screenshots: Path
) -> None:
    await page.evaluate(
        """() => {
          Object.defineProperty(BaseAudioContext.prototype, "state", { get: () => "suspended" });
          AudioContext.prototype.resume = () => new Promise(() => {});
        }"""
    )
    await page.get_by_role("button", name="Start recording").click()
    await expect(page.get_by_role("alert").filter(has_text="The browser cannot start its audio.")).to_be_visible()
    await page.screenshot(path=screenshots / "never-starts.png")
    assert (await states(page))[0] == ["ended"]


async def test_a_muted_track_is_told_and_kept_as_silence(
    page: Page, opened: None, server: Server, screenshots: Path
) -> None:
    socket = await recording(page, server)
    began = await page.evaluate(f"({MUTE})(true), performance.now()")
    await problem(
        page, "The microphone is muted: by the system, by a switch or key on the device, or by another program."
    )
    await problem(page, "Silence is recorded meanwhile.")
    await page.screenshot(path=screenshots / "muted.png")
    await socket.received(len(samples(socket)) + 3 * RATE)
    ended = await page.evaluate(f"({MUTE})(false), performance.now()")
    await fine(page)
    await socket.received(len(samples(socket)) + RATE)
    assert silences(socket) == pytest.approx([(ended - began) / 1_000], abs=1)


async def test_a_recorder_without_input_records_silence(
    page: Page, opened: None, server: Server, screenshots: Path
) -> None:
    socket = await recording(page, server)
    began = await page.evaluate("contexts[0].unplug(), performance.now()")
    await problem(page, "There is no sound. Is the microphone muted?")
    await page.screenshot(path=screenshots / "no-input.png")
    ended = await page.evaluate("contexts[0].plug(), performance.now()")
    await fine(page)
    await socket.received(len(samples(socket)) + RATE)
    assert silences(socket) == pytest.approx([(ended - began) / 1_000], abs=1)


async def test_audio_that_the_system_stops_is_kept_as_silence_until_it_returns(
    page: Page, opened: None, server: Server, screenshots: Path
) -> None:
    socket = await recording(page, server)
    began = await page.evaluate(
        "async () => { window.stopped = true; await contexts[0].suspend(); return performance.now(); }"
    )
    await problem(page, "The system has stopped the microphone, perhaps for a call. Silence is recorded meanwhile.")
    before = len(socket.pcm)
    await expect(page.locator(".saved")).to_contain_text(SILENT)  # from ten seconds on, while it lasts
    await page.screenshot(path=screenshots / "stopped.png")
    await expect(page.locator(".phase")).to_have_text("Recording")
    await wait_until(lambda: len(socket.pcm) > before, description="silence is sent meanwhile")
    ended = await page.evaluate(
        """() => new Promise((resolve) => {
          contexts[0].onstatechange = () => resolve(performance.now());
          window.stopped = false;
        })"""
    )
    await fine(page)  # the page has asked for it again, by itself
    await socket.received(len(samples(socket)) + RATE)
    assert silences(socket) == pytest.approx([(ended - began) / 1_000], abs=1)
    assert (ended - began) > 10_000


DEAF = """() => {
  window.AudioWorkletNode = class extends AudioWorkletNode {
    constructor(...all) {
      super(...all);
      const real = this.port;
      const port = {
        postMessage: (message) => real.postMessage(message),
        set onmessage(listener) {
          real.onmessage = (event) => window.deaf || listener(event);
        },
      };
      Object.defineProperty(this, "port", { value: port });
    }
  };
}"""
"""While `deaf` is set the page gets no frames."""


async def test_a_recorder_that_gives_nothing_is_told_after_ten_seconds(
    page: Page, opened: None, server: Server, screenshots: Path
) -> None:
    await page.evaluate(DEAF)
    await page.clock.install()
    await start(page)
    socket = await server.socket(1)
    await socket.received()
    await page.evaluate("window.deaf = true")
    socket.say("ack", samples=100 * RATE)
    await page.clock.run_for(9_000)
    await fine(page)
    await page.clock.run_for(3_000)
    await problem(page, "The microphone has stopped giving sound. Silence is recorded meanwhile.")
    await expect(page.locator(".saved")).to_contain_text(SILENT)
    await page.screenshot(path=screenshots / "gives-nothing.png")
    await socket.received(10 * RATE)
    await page.evaluate("window.deaf = false")
    await page.clock.run_for(1_000)
    await fine(page)
    await expect(page.locator(".saved")).to_contain_text(SILENT)  # it remains visible that there was a gap


async def test_hours_without_sound_are_told_and_not_recorded(
    page: Page, opened: None, server: Server, screenshots: Path
) -> None:
    await page.evaluate(DEAF)
    await page.clock.install()
    await start(page)
    socket = await server.socket(1)
    await socket.received()
    await page.evaluate("window.deaf = true")
    socket.say("ack", samples=100 * RATE)
    await page.clock.fast_forward(3 * 3_600_000)
    await page.clock.run_for(2_000)
    await problem(page, "Nothing was recorded for 3 h: this device slept, or its clock was set.")
    await page.screenshot(path=screenshots / "slept.png")
    await expect(page.locator(".elapsed")).to_have_text("0:00")


async def test_the_choice_of_microphones_follows_what_is_plugged_in(page: Page) -> None:
    plug = """(labels) => {
      const device = (label) => ({ kind: "audioinput", deviceId: label, label });
      navigator.mediaDevices.enumerateDevices = async () => labels.map(device);
      navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
    }"""
    choice = page.locator("#microphone option")
    await expect(page.get_by_label("Microphone")).to_be_visible()
    await page.evaluate(plug, ["Built-in", "Headset"])
    await expect(choice).to_have_text(["Default", "Built-in", "Headset"])
    await expect(page.get_by_label("Microphone")).to_be_visible()
    await page.get_by_label("Microphone").select_option("Headset")
    await page.evaluate(plug, ["Built-in"])
    await expect(choice).to_have_text(["Default", "Built-in"])


async def test_another_microphone_than_the_chosen_one_is_named(page: Page, opened: None, server: Server) -> None:
    await start(page)
    await (await server.socket(1)).received()
    await page.get_by_role("button", name="Pause").click()
    await page.evaluate(
        """() => {
          const real = navigator.mediaDevices.getUserMedia;
          let asked = 0;
          navigator.mediaDevices.getUserMedia = (wanted) =>
            asked++ ? real(wanted) : Promise.reject(new DOMException("", "OverconstrainedError"));
        }"""
    )
    await page.get_by_role("button", name="Continue recording").click()
    await problem(page, "The chosen microphone is no longer connected: this is “Fake")
    await expect(page.locator(".phase")).to_have_text("Recording")
