"""Transcripts as files: plain text, subtitles, JSON and minutes, and the names of these files. Pure.

`FORMATS` has the media type and the writer of each extension.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote

from contract import RATE, Summary, Transcript, language_of, seconds
from contract.view import ExportedSegmentView, ExportView, SegmentView
from edge.rest.subtitles import cues, one_line, speaker_of
from store.job import Job

_MAX_NAME = 200
"""Bytes of a name in UTF-8. File systems take 255; what saves the file may add to it, such as ` (1)` or `.part`."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*%]+')
"""Characters that some file system or header does not accept."""

_SRT_MARKUP = re.compile(r"<(?=\S)|\\|&(?=#?\w+;)|--(?=>)")


class Format(NamedTuple):
    """A kind of file."""

    media_type: str
    write: Callable[[Job, Sequence[Transcript]], str]


def title_of(job: Job) -> str | None:
    """As the client named the job, else as its summary does."""
    return job.options.title or (job.summary.title if job.summary else None) or None


def text(_job: Job, segments: Sequence[Transcript]) -> str:
    """Plain text, a line for each segment that has any, beginning with the speaker's name where that changes."""
    lines = []
    speaker: str | None = None
    for segment in _with_text(segments):
        name = speaker_of(segment)
        lines.append((f"{name}: " if name and name != speaker else "") + one_line(segment.text))
        speaker = name
    return "".join(f"{line}\n" for line in lines)


def srt(_job: Job, segments: Sequence[Transcript]) -> str:
    """SubRip: numbered cues, times with a comma. It has no escapes for what players read as markup."""
    blocks = []
    for number, cue in enumerate(cues(segments, label=True), 1):
        times = f"{clock(cue.start, ',')} --> {clock(cue.end, ',')}"
        blocks.append("\n".join([str(number), times, *map(_srt_literal, cue.lines), ""]))
    return "\n".join(blocks)


def vtt(_job: Job, segments: Sequence[Transcript]) -> str:
    """WebVTT: https://www.w3.org/TR/webvtt1. The speaker is the voice of a cue."""
    blocks = ["WEBVTT\n"]
    for cue in cues(segments):
        times = f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}"
        voice = f"<v {_vtt_escaped(cue.speaker)}>" if cue.speaker else ""
        first, *others = map(_vtt_escaped, cue.lines)
        blocks.append("\n".join([times, voice + first, *others, ""]))
    return "\n".join(blocks)


def as_json(job: Job, segments: Sequence[Transcript]) -> str:
    """The segments with their words, as in `GET /api/v1/jobs/{id}`."""
    view = ExportView(
        job_id=job.job,
        state=job.state,
        title=title_of(job),
        language=language_of(segments) or job.options.language,
        duration=seconds(job.samples) if job.state == "completed" else None,
        segments=[
            ExportedSegmentView.model_validate({**SegmentView.fields_of(segment), "speaker": speaker_of(segment)})
            for segment in segments
        ],
        summary=job.summary.view if job.summary else None,
    )
    return json.dumps(view.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


def markdown(job: Job, segments: Sequence[Transcript]) -> str:
    """Minutes: CommonMark with a task list."""
    facts = [job.created_at.strftime("%Y-%m-%d %H:%M UTC")]
    if job.state == "completed":
        facts.append(clock(job.samples))
    else:
        facts.append(f"{job.state}: not complete yet")
    parts = [f"# {_md_escaped(one_line(title_of(job) or 'Transcript'))}", f"*{' · '.join(facts)}*"]
    if job.summary is not None:
        parts += _summary_parts(job.summary)
    parts.append("## Transcript")
    speaker: str | None = None
    for segment in sorted(segments, key=lambda segment: segment.index):
        line = _md_escaped(one_line(segment.text))
        if segment.error and not line:
            line = "*could not be transcribed*"
        if line:
            name = speaker_of(segment)
            who = f"**{_md_escaped(name)}:** " if name and name != speaker else ""
            parts.append(f"`{clock(segment.start)}` {who}{line}")
            speaker = name
    return "\n\n".join(parts) + "\n"


def _summary_parts(summary: Summary) -> list[str]:
    parts = ["## Summary", _md_escaped(one_line(summary.summary))] if summary.summary.strip() else []
    items = [
        f"[ ] {_md_escaped(one_line(item.what))}" + _who_and_when(item.who, item.due) for item in summary.action_items
    ]
    lists: list[tuple[str, Iterable[str]]] = [
        ("Key points", [_md_escaped(one_line(line)) for line in summary.key_points]),
        ("Decisions", [_md_escaped(one_line(line)) for line in summary.decisions]),
        ("Action items", items),
    ]
    for name, lines in lists:
        if entries := [f"- {line}" for line in lines if line]:
            parts += [f"## {name}", "\n".join(entries)]
    if parts and summary.engine == "extractive":
        parts.append("*These are sentences of the speakers: no language model was available to write a summary.*")
    return parts


def _who_and_when(who: str | None, due: str | None) -> str:
    given = [_md_escaped(one_line(text)) for text in (who, due) if text and text.strip()]
    return f" ({', '.join(given)})" if given else ""


FORMATS: dict[str, Format] = {
    "txt": Format("text/plain; charset=utf-8", text),
    "srt": Format("application/x-subrip; charset=utf-8", srt),
    "vtt": Format("text/vtt; charset=utf-8", vtt),
    "json": Format("application/json", as_json),
    "md": Format("text/markdown; charset=utf-8", markdown),
}


def clock(samples: int, point: str = "") -> str:
    """Hours, minutes and seconds; with `point`, also milliseconds after it."""
    milliseconds = samples * 1000 // RATE
    seconds = milliseconds // 1000
    whole = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{whole}{point}{milliseconds % 1000:03}" if point else whole


def _with_text(segments: Sequence[Transcript]) -> list[Transcript]:
    return [s for s in sorted(segments, key=lambda segment: segment.index) if s.text.strip()]


def _srt_literal(text: str) -> str:
    """Text that players show as it is, though some read HTML tags and entities, ASS codes and times in it.

    An invisible word joiner breaks these up, as FFmpeg's own ASS writer does. Nothing keeps braces from being read as
    an ASS code but their full-width forms.
    """
    return _SRT_MARKUP.sub("\\g<0>\u2060", text).translate({ord("{"): "\uff5b", ord("}"): "\uff5d"})


def _vtt_escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _md_escaped(text: str) -> str:
    """Text that Markdown shows as it is, also at the beginning of a line."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", text)
    return re.sub(r"^([-+=]|\d+(?=[.)]))", lambda found: _safe_start(found[0]), escaped)


def _safe_start(start: str) -> str:
    return f"\\{start}" if not start[0].isdigit() else f"{start}\\"


def file_name(job: Job, extension: str) -> str:
    """The name of a job's file: after its title, else after its id."""
    text = unicodedata.normalize("NFC", " ".join(_FORBIDDEN.sub(" ", title_of(job) or "").split()))
    printable = "".join(character for character in text if character.isprintable())
    return f"{_shortened(printable).strip(' .') or job.job}.{extension}"


def _shortened(name: str) -> str:
    return name.encode()[:_MAX_NAME].decode(errors="ignore")


def disposition(kind: str, name: str) -> str:
    """A Content-Disposition header, with the name in ASCII for old clients and in full. Sources: RFC 6266, RFC 8187."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    stem, dot, extension = plain.rpartition(".")
    plain = _FORBIDDEN.sub("_", f"{_shortened(stem).strip() or 'download'}{dot}{extension}")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
