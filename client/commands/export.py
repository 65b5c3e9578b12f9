"""`stenobus export`: a transcript as a file."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote

import typer

from client.api import export_job, try_each
from client.errors import ClientError
from client.shell import LOCAL, JobId, Servers, exit_on_failure
from client.view import clean

_LONGEST_NAME = 255
"""Bytes, in most file systems."""


class Format(StrEnum):
    """File types that a server makes."""

    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"
    MD = "md"


def export(
    job_id: JobId,
    wanted: Annotated[
        Format | None, typer.Option("--format", help="File type. Default: the suffix of FILE, else txt.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: stdout.")] = None,
    own_name: Annotated[
        bool,
        typer.Option("-O", "--own-name", help="Write a new file in this folder, named by the server; prints its name."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    servers: Servers = LOCAL,
) -> None:
    """Export the transcript of a job as text, subtitles, JSON or minutes; of a live job, what there is so far."""
    if output and own_name:
        raise typer.BadParameter("give -o or -O, not both")
    if as_json and wanted not in (None, Format.JSON):
        raise typer.BadParameter("give --json or --format, not both")
    extension = (Format.JSON if as_json else wanted) or format_of(output)
    with exit_on_failure():
        _, response = asyncio.run(try_each(servers, lambda server: export_job(server, job_id, extension.value)))
        if own_name:
            path = Path(file_name(response.headers) or f"{job_id}.{extension}")
            write(path, response.content, new=True)
            typer.echo(path)
        elif output:
            write(output, response.content, new=False)
        elif sys.stdout.isatty():
            typer.echo(clean(response.text))
        else:
            typer.echo(response.content, nl=False)


def format_of(path: Path | None) -> Format:
    """The file type that a name asks for; raises BadParameter for an unknown one."""
    extension = path.suffix[1:].lower() if path else ""
    if not extension:
        return Format.TXT
    if extension not in set(Format):
        raise typer.BadParameter(f"{path}: choose one with --format: {', '.join(Format)}")
    return Format(extension)


def file_name(headers: Mapping[str, str]) -> str | None:
    """The name that a Content-Disposition proposes, fit for this folder; sources: RFC 6266, RFC 8187."""
    value = headers.get("content-disposition", "")
    if extended := re.search(r"filename\*\s*=\s*utf-8'[^']*'([^;\s]+)", value, re.IGNORECASE):
        name = unquote(extended[1], errors="replace")
    else:
        parsed = EmailMessage()
        parsed["Content-Disposition"] = value or "attachment"
        name = parsed.get_filename() or ""
    # It comes from another machine: it must neither leave this folder nor be hidden.
    name = re.sub(r'[/\\<>:"|?*]+', " ", clean(name)).replace("\n", " ").strip(" .")
    return _fitting(name) or None


def _fitting(name: str) -> str:
    """A name that file systems take: what is too long is cut before the extension."""
    extension = Path(name).suffix
    if len(name.encode()) <= _LONGEST_NAME or len(extension.encode()) > _LONGEST_NAME:
        extension = ""
    stem = name.removesuffix(extension).encode()[: _LONGEST_NAME - len(extension.encode())]
    return stem.decode(errors="ignore").strip(" .") + extension


def write(path: Path, content: bytes, *, new: bool) -> None:
    """Write a file, with `new` only where there is none; raises ClientError that says why not."""
    try:
        with path.open("xb" if new else "wb") as file:
            file.write(content)
    except FileExistsError as exc:
        raise ClientError(f"{path} exists: move it away, or name a file with -o") from exc
    except OSError as exc:
        raise ClientError(f"cannot write {path}: {(exc.strerror or str(exc)).lower()}") from exc
