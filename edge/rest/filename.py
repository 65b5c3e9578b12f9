"""Names of files that are offered for download. Pure."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

from edge.rest.export import title_of
from store.job import Job

_LONGEST = 100
_UNFIT = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*%]+')
"""What some file system or header does not take."""


def file_name(job: Job, extension: str) -> str:
    """A name after the job's title, else after its id."""
    text = unicodedata.normalize("NFC", " ".join(_UNFIT.sub(" ", title_of(job) or "").split()))
    printable = "".join(character for character in text if character.isprintable())
    return f"{printable[:_LONGEST].strip(' .') or job.job}.{extension}"


def disposition(kind: str, name: str) -> str:
    """A Content-Disposition header: the name in ASCII for old readers, and as it is. Sources: RFC 6266, RFC 8187."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    stem, dot, extension = plain.rpartition(".")
    plain = _UNFIT.sub("_", f"{stem.strip() or 'download'}{dot}{extension}")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
