"""The microphone, with a stand-in for the package sounddevice that plays a file."""

from __future__ import annotations

import json
import signal
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from audio import AudioError
from client.session.microphone import Device, choose, mixed
from tests.client.inprocess import invoke
from tests.client.process import ROOT, start
from tests.client.server import ScriptedServer
from tests.support import wait_until

STAND_IN = """
import itertools, json, os, pathlib, threading, time

PLAN = json.loads(os.environ["PLAN"])


class PortAudioError(Exception):
    pass


class CallbackStop(Exception):
    pass


class default:
    device = [PLAN.get("default", 0), -1]


class Status:
    input_overflow = False


class Time:
    inputBufferAdcTime = 100.0


def query_devices():
    return PLAN["devices"]


def check_input_settings(device, samplerate, channels, dtype):
    if [samplerate, channels] not in PLAN["takes"]:
        raise PortAudioError("Invalid sample rate", -9997)


class RawInputStream:
    def __init__(self, device, samplerate, channels, dtype, blocksize, callback):
        if [samplerate, channels] not in PLAN["takes"]:
            raise PortAudioError("Error opening RawInputStream: Device unavailable", -9985)
        self.frames, self.width, self.callback = blocksize, blocksize * 2 * channels, callback
        self.sound = pathlib.Path(PLAN["sound"]).read_bytes()

    def log(self, line):
        with open(PLAN["log"], "a") as file:
            file.write(line + "\\n")

    def __enter__(self):
        self.log("open")
        threading.Thread(target=self.play, daemon=True).start()

    def __exit__(self, *_):
        self.log("closed")

    def play(self):
        blocks = [self.sound[at : at + self.width] for at in range(0, len(self.sound), self.width)]
        endless = PLAN.get("endless", True)
        try:
            for number in itertools.count() if endless else range(len(blocks)):
                status, now = Status(), Time() if "pauses" in PLAN else None
                Time.inputBufferAdcTime += PLAN.get("pauses", {}).get(str(number), 0)
                status.input_overflow = number in PLAN.get("overflows", [])
                self.callback(blocks[number] if number < len(blocks) else bytes(self.width), self.frames, now, status)
                Time.inputBufferAdcTime += 0.03
                if number >= len(blocks):
                    time.sleep(0.03)
        except CallbackStop:
            self.log("stopped")
"""

DEVICE = {"name": "Built-in", "max_input_channels": 1, "default_samplerate": 48_000.0}
SPEAKER = {"name": "Speaker", "max_input_channels": 0, "default_samplerate": 48_000.0}
SOUND = np.arange(1, 16_001, dtype="<i2").tobytes()
"""A second in which each sample is its own index."""


class Stage:
    """A stand-in for the package, which follows a plan and logs what was done to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sounddevice.py").write_text(STAND_IN)
        (folder / "log").touch()
        self.sound(SOUND)

    def sound(self, pcm: bytes) -> None:
        (self.folder / "sound").write_bytes(pcm)

    def plan(self, **plan: object) -> dict[str, str]:
        """The environment of a command that is to record from it."""
        whole = {"devices": [SPEAKER, DEVICE], "default": 1, "takes": [[16_000, 1]]} | plan
        files = {"sound": str(self.folder / "sound"), "log": str(self.folder / "log")}
        return {"PLAN": json.dumps(whole | files), "PYTHONPATH": f"{self.folder}:{ROOT}"}

    async def invoke(self, *arguments: str, **plan: object) -> tuple[int, str, str]:
        """`stenobus stream` in this process, with the stand-in freshly imported."""
        with pytest.MonkeyPatch.context() as patched:
            patched.syspath_prepend(self.folder)
            patched.delitem(sys.modules, "sounddevice", raising=False)
            try:
                return await invoke("stream", *arguments, environment={"PLAN": self.plan(**plan)["PLAN"]})
            finally:
                sys.modules.pop("sounddevice", None)

    @property
    def log(self) -> list[str]:
        return (self.folder / "log").read_text().split()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


async def test_ctrl_c_ends_the_job_and_shows_the_rest(server: ScriptedServer, stage: Stage) -> None:
    process = await start("stream", "--mic", "--server", server.url, **stage.plan(overflows=[3, 4]))
    await wait_until(lambda: len(server.sound) > len(SOUND), description="sound arrives")
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert process.returncode == 0
    assert err.decode().splitlines() == [
        "stenobus: no more audio; waiting for the rest (Ctrl-C again to exit)",
        "stenobus: this machine was too busy, or suspended: 0.1 s from the microphone were lost",
    ]
    assert "Good morning." in out.decode()
    assert server.commands == ["stop"]
    assert server.sound.startswith(SOUND)
    assert set(server.sound[len(SOUND) :]) == {0}
    assert stage.log[:2] == ["open", "stopped"]


async def test_what_was_not_recorded_while_this_process_was_stopped_is_silence(
    server: ScriptedServer, stage: Stage
) -> None:
    plan = stage.plan(pauses={"10": 2.5, "20": 0.1})  # the second: as clocks do
    process = await start("stream", "--mic", "--server", server.url, **plan)
    await wait_until(lambda: len(server.sound) > len(SOUND) + 80_000, description="sound arrives")
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 0
    assert err.decode().splitlines()[-1] == (
        "stenobus: this machine was too busy, or suspended: 2.5 s from the microphone were lost"
    )
    assert server.sound.startswith(SOUND[:9_600] + bytes(80_000) + SOUND[9_600:])


async def test_a_device_with_another_rate_and_two_channels(server: ScriptedServer, stage: Stage) -> None:
    seconds = np.arange(48_000) / 48_000
    tone = np.round(np.sin(2 * np.pi * 440 * seconds) * 10_000).astype("<i2")
    stage.sound(np.column_stack([tone, tone]).tobytes())
    process = await start("stream", "--mic", "--server", server.url, **stage.plan(takes=[[48_000, 2]]))
    await wait_until(lambda: len(server.sound) > 40_000, description="sound arrives")
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 0
    heard = np.frombuffer(server.sound, "<i2")[:15_000].astype(float)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    assert abs(np.argmax(spectrum) * 16_000 / len(heard) - 440) < 2
    assert 9_500 < np.abs(heard[2_000:13_000]).max() < 10_500


async def test_a_device_that_goes_ends_the_job(server: ScriptedServer, stage: Stage) -> None:
    code, _, err = await stage.invoke("--mic", "--server", server.url, endless=False)
    assert code == 2
    assert err.splitlines()[-1] == "stenobus: the microphone 'Built-in' no longer delivers audio"
    assert server.sound == SOUND[: 33 * 960]  # whole frames


async def test_a_device_that_cannot_be_opened(server: ScriptedServer, stage: Stage) -> None:
    why = "error opening rawinputstream: device unavailable"
    expected = (2, "", f"stenobus: the microphone 'Built-in' cannot be opened: {why}\n")
    assert await stage.invoke("--mic", "--server", server.url, takes=[]) == expected
    assert server.created == []  # no job without audio


async def test_devices_are_listed(stage: Stage) -> None:
    devices = [SPEAKER, DEVICE, DEVICE | {"name": "마이크", "max_input_channels": 2}]
    code, out, err = await stage.invoke("--list-devices", devices=devices)
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()[1:]] == [
        ["1", "Built-in", "1", "48000", "default"],
        ["2", "마이크", "2", "48000"],
    ]
    code, out, _ = await stage.invoke("--list-devices", "--json", devices=devices)
    first, _ = (json.loads(line) for line in out.splitlines())
    assert first == {"index": 1, "name": "Built-in", "channels": 1, "rate": 48_000, "default": True}


async def test_no_device(stage: Stage) -> None:
    sentence = "stenobus: there is no microphone here\n"
    assert await stage.invoke("--list-devices", devices=[SPEAKER]) == (1, "", sentence)
    assert await stage.invoke("--mic", devices=[SPEAKER]) == (2, "", sentence)


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("raise ModuleNotFoundError", "the Python package sounddevice: pip install 'stenobus[mic]'"),
        ("raise OSError('PortAudio library not found')", "the library PortAudio: apt install libportaudio2"),
    ],
)
async def test_what_is_missing_is_named(stage: Stage, module: str, sentence: str) -> None:
    (stage.folder / "sounddevice.py").write_text(module)
    code, out, err = await stage.invoke("--mic")
    assert (code, out) == (2, "")
    assert err.startswith(f"stenobus: the microphone needs {sentence}")


FOUND = [
    Device(0, "USB microphone", 1, 48_000, default=False),
    Device(3, "Built-in microphone", 2, 44_100, default=True),
    Device(4, "usb", 2, 44_100, default=False),
]


@pytest.mark.parametrize(("name", "index"), [(None, 3), ("0", 0), ("built", 3), ("USB", 4), ("USB m", 0)])
def test_a_device_is_chosen(name: str | None, index: int) -> None:
    assert choose(FOUND, name).index == index


def test_a_name_is_the_same_however_its_letters_are_composed() -> None:
    found = [*FOUND, Device(5, unicodedata.normalize("NFD", "Café mic"), 1, 48_000, default=False)]
    assert choose(found, "CAFÉ").index == 5


def test_without_a_default_it_is_the_first() -> None:
    assert choose(FOUND[:1], None).index == 0


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("7", r"no device is called '7'; there are 0: USB microphone; 3: Built-in microphone; 4: usb"),
        ("microphone", r"2 devices are called 'microphone'; there are 0: USB microphone; 3: Built-in microphone$"),
    ],
)
def test_a_device_that_is_not_clear(name: str, says: str) -> None:
    with pytest.raises(AudioError, match=says):
        choose(FOUND, name)


def test_channels_are_mixed() -> None:
    assert mixed(b"\1\0\2\0", 1) == b"\1\0\2\0"
    stereo = np.array([[100, 200], [-32_768, -32_768], [32_767, 32_767]], "<i2")
    assert np.frombuffer(mixed(stereo.tobytes(), 2), "<i2").tolist() == [150, -32_768, 32_767]
