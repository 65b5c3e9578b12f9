"""Files with unusual tracks, channels and headers, decoded by the page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.async_api import Browser, BrowserContext, FilePayload, Page, expect

from tests.audio.sounds import Track, encoded, float_wav, le32, level, movie, tone, wav
from tests.edge.web.scripted_server import Server
from tests.edge.web.site import Site
from tests.support import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEVEL = level(tone(1))

DECODE = """async ([data, choice]) => {
  const { decode } = await import("/web/capture/file.js");
  const { toInt16 } = await import("/web/core/pcm.js");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  try {
    const sounds = await decode(new File([bytes], "talk"), choice);
    return sounds.map(({ samples, ...rest }) => {
      const pcm = new Uint8Array(toInt16(samples).buffer);
      let text = "";
      for (const byte of pcm) text += String.fromCharCode(byte);
      return { ...rest, pcm: btoa(text) };
    });
  } catch (error) {
    return `${error.constructor.name}: ${error.message}`;
  }
}"""


@dataclass
class Sound:
    pcm: NDArray[np.int16]
    told: list[str]
    taken: dict[str, Any] | None

    def pitch(self, start: float, end: float) -> float:
        part = self.pcm[round(start * 16_000) : round(end * 16_000)].astype(np.float64)
        return float(np.argmax(np.abs(np.fft.rfft(part))) * 16_000 / len(part))


async def decoded(chromium: Browser | BrowserContext, site: Site, data: bytes, **choice: Any) -> list[Sound]:
    page = await chromium.new_page()
    try:
        await page.goto(f"{site.url}/jobs")  # under the policy of the page
        found = await page.evaluate(DECODE, [base64.b64encode(data).decode(), choice])
    finally:
        await page.close()
    assert isinstance(found, list), found
    return [Sound(np.frombuffer(base64.b64decode(each["pcm"]), "<i2"), each["told"], each["taken"]) for each in found]


SOUND = tone(3, rate=48_000)


@pytest.mark.parametrize(("container", "codec"), [("matroska", "libopus"), ("mp4", "libopus"), ("mov", "pcm_s16le")])
async def test_a_track_that_begins_late_keeps_its_time(
    chromium: Browser, site: Site, container: str, codec: str
) -> None:
    (sound,) = await decoded(chromium, site, movie(container, codec, [Track(SOUND)], late=5))
    assert len(sound.pcm) / 16_000 == pytest.approx(8, abs=0.05)
    assert not sound.pcm[:78_000].any()
    assert level(sound.pcm[82_000:126_000]) == pytest.approx(LEVEL, abs=0.5)
    assert sound.told == ["The sound begins 5.0 s after the start of the file."]


@pytest.mark.parametrize(("container", "codec"), [("matroska", "libopus"), ("mov", "pcm_s16le")])
async def test_the_best_or_the_wanted_track_is_taken(chromium: Browser, site: Site, container: str, codec: str) -> None:
    silence = np.zeros_like(SOUND)
    tracks = [Track(tone(3, 300, 48_000)), Track(silence, default=True), Track(tone(3, 700, 48_000))]
    data = movie(container, codec, tracks)
    (sound,) = await decoded(chromium, site, data)
    assert sound.pitch(1, 2) == pytest.approx(300, abs=5)
    assert sound.taken == {"track": 1, "tracks": 3, "channel": "mix", "channels": 1}
    assert sound.told[0].startswith("Track 1 of 3 was taken (")
    (sound,) = await decoded(chromium, site, data, track=3)
    assert sound.pitch(1, 2) == pytest.approx(700, abs=5)
    with pytest.raises(AssertionError, match=r"FileError: “talk” has no track 4. Its tracks are 1 \("):
        await decoded(chromium, site, data, track=4)


async def test_without_webcodecs_the_first_track_is_taken_and_that_is_told(chromium: Browser, site: Site) -> None:
    data = movie("matroska", "libopus", [Track(tone(3, 300, 48_000)), Track(tone(3, 700, 48_000), default=True)])
    context = await chromium.new_context()
    try:
        await context.add_init_script("delete globalThis.AudioDecoder")  # as on pages without https
        (sound,) = await decoded(context, site, data)
        assert sound.pitch(1, 2) == pytest.approx(300, abs=5)
        assert sound.told[0].startswith("This browser can decode only the first of its 2 tracks.")
        with pytest.raises(AssertionError, match="FileError: This browser cannot decode track 2 of “talk”"):
            await decoded(context, site, data, track=2)
    finally:
        await context.close()


async def test_a_container_that_only_the_library_reads(chromium: Browser, site: Site) -> None:
    (sound,) = await decoded(chromium, site, encoded(SOUND, 48_000, "mpegts", "aac"))
    assert len(sound.pcm) / 16_000 == pytest.approx(3, abs=0.1)
    assert level(sound.pcm[4_000:40_000]) == pytest.approx(LEVEL, abs=0.5)


async def test_channels_that_cancel_are_heard(chromium: Browser, site: Site) -> None:
    (sound,) = await decoded(chromium, site, wav(np.stack([tone(4), -tone(4)], axis=1)))
    assert level(sound.pcm) == pytest.approx(LEVEL, abs=0.1)
    assert sound.told == ["Its channels cancel each other out for 4.0 s: one of them was taken there."]


async def test_many_channels_keep_their_level(chromium: Browser, site: Site) -> None:
    one = np.zeros((32_000, 32), np.int16)
    one[:, 9] = tone(2)
    for data in (wav(one), wav(np.repeat(tone(2)[:, np.newaxis], 16, axis=1))):
        (sound,) = await decoded(chromium, site, data)
        assert level(sound.pcm) == pytest.approx(LEVEL, abs=0.1)


async def test_each_channel_is_a_sound(chromium: Browser, site: Site) -> None:
    data = wav(np.stack([tone(2, 300), tone(2, 700)], axis=1))
    left, right = await decoded(chromium, site, data, channel="each")
    assert (left.pitch(0, 2), right.pitch(0, 2)) == (300, 700)
    assert left.taken == {"track": 1, "tracks": 1, "channel": "left", "channels": 2}
    assert (await decoded(chromium, site, data, channel="right"))[0].pitch(0, 2) == 700
    with pytest.raises(AssertionError, match="FileError: “talk” has no channel “left”: there is one"):
        await decoded(chromium, site, wav(tone(1)), channel="left")


@pytest.mark.parametrize(("container", "codec"), [("ogg", "libopus"), ("flac", "flac"), ("wav", "pcm_s16le")])
async def test_files_that_were_joined(chromium: Browser, site: Site, container: str, codec: str) -> None:
    stereo = np.stack([tone(3, 700, 24_000)] * 2, axis=1)
    data = encoded(SOUND, 48_000, container, codec) + encoded(stereo, 24_000, container, codec)
    (sound,) = await decoded(chromium, site, data)
    assert len(sound.pcm) / 16_000 == pytest.approx(6, abs=0.05)
    assert sound.pitch(3.5, 5.5) == pytest.approx(700, abs=1)
    assert sound.told == ["It consists of 2 files that were joined."]


@pytest.mark.parametrize(
    ("promised", "kept", "seconds", "told"),
    [
        (160_000, 320_000, 10, ["The header of the file promises 5.0 s, but there are 10.0 s: all were taken."]),
        (0, 320_000, 10, ["The header of the file promises 0.0 s, but there are 10.0 s: all were taken."]),
        (320_000, 160_000, 5, ["The file is cut off: its header promises 10.0 s, and 5.0 s are there."]),
        (0xFFFFFFFF, 320_000, 10, []),
    ],
)
async def test_a_wav_header_that_is_wrong(
    chromium: Browser, site: Site, promised: int, kept: int, seconds: float, told: list[str]
) -> None:
    data = wav(tone(10))
    (sound,) = await decoded(chromium, site, data[:40] + le32(promised) + data[44 : 44 + kept])
    assert len(sound.pcm) / 16_000 == seconds
    assert sound.told[:1] == told


@pytest.mark.parametrize("rate", [16_000, 48_000])
async def test_nan_and_silence(chromium: Browser, site: Site, rate: int) -> None:
    samples = tone(4, rate=rate) / 32_767
    samples[100::3_000] = np.nan
    samples[50::5_000] = np.inf
    (sound,) = await decoded(chromium, site, float_wav(samples, rate))
    assert level(sound.pcm) == pytest.approx(LEVEL, abs=0.3)
    assert "samples are infinite or not a number: they became silence" in sound.told[0]
    (sound,) = await decoded(chromium, site, wav(np.zeros(32_000, np.int16)))
    assert sound.told == ["There is nothing but silence in it."]


@pytest.mark.parametrize("rate", [16_000, 48_000])
async def test_integers_stored_as_floats_are_scaled(chromium: Browser, site: Site, rate: int) -> None:
    (sound,) = await decoded(chromium, site, float_wav(tone(4, rate=rate), rate))
    assert level(sound.pcm) == pytest.approx(LEVEL, abs=0.1)
    assert sound.told == ["Its samples are far above full scale: they were scaled."]


async def test_each_channel_is_a_recording(page: Page, server: Server, screenshots: Path) -> None:
    data = wav(np.stack([tone(2, 300), tone(2, 700)], axis=1))
    await page.get_by_label("Channel of a file").select_option("each")
    await page.screenshot(path=screenshots / "file-options.png")
    await page.locator("#file").set_input_files(FilePayload(name="call.wav", mimeType="audio/wav", buffer=data))

    def created() -> list[Any]:
        return [body for name, body in server.requests if name == "POST /api/v1/stream/create"]

    await wait_until(lambda: len(created()) == 2, description="a job for each channel")
    assert [body["title"] for body in created()] == ["call (left)", "call (right)"]
    assert [body["metadata"]["audio"]["channel"] for body in created()] == ["left", "right"]


async def test_what_is_unusual_is_shown(page: Page, server: Server, screenshots: Path) -> None:
    data = wav(np.stack([tone(4), -tone(4)], axis=1))
    await page.locator("#file").set_input_files(FilePayload(name="call.wav", mimeType="audio/wav", buffer=data))
    await expect(page.locator(".told")).to_have_text(
        "Its channels cancel each other out for 4.0 s: one of them was taken there."
    )
    await page.screenshot(path=screenshots / "file-told.png")
