"""Ask NCBI's E-utilities for sequences, through Biopython's Entrez, and look closely at what comes.

Biopython builds the requests and keeps NCBI's rate limit (three a second, ten with an API key). It repeats a request
without a pause, sets no time limit and looks at no content: retries, time limits and checks are ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead
from typing import Any, Literal, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ..errors import InputError
from ..io.fasta import clean_letters
from ..sequence import as_letters

NCBI = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
Format = Literal["fasta", "genbank"]

_RETURN_TYPE = {"fasta": "fasta", "genbank": "gbwithparts"}  # plain "gb" leaves out the letters of joined records
_LONGEST_PAUSE = 120.0
# What a 400 says when the fault lies behind NCBI's front (a relayed 502), not in the request.
_PASSING = re.compile(r"proxy_stream|temporar|unavailable|bad gateway|failed to connect|try again|timed? ?out", re.I)
# What ESummary says of an id that it does not know; its other errors pass.
_UNKNOWN = re.compile(r"invalid (u?id|value)|cannot get document|not found", re.I)


class Genome(NamedTuple):
    """One record as it came.

    Attributes:
        accession: with its version.
        content: the record, byte for byte.
        length: nt.
        sequence_md5: MD5 of the upper-case letters.
    """

    accession: str
    content: bytes
    length: int
    sequence_md5: str


class Summary(NamedTuple):
    """What ESummary says of a record: its length in nt, and whether it is still live."""

    length: int
    status: str


class UnavailableError(Exception):
    """The answer did not come, or is no answer; it may come later, after ``pause`` seconds where the server says so."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class RefusedError(Exception):
    """The server understood the question and will not answer it: one of its ids is wrong, usually."""


@dataclass(frozen=True)
class Server:
    """Where and as whom to ask.

    Args:
        url: of the E-utilities.
        email: NCBI wants to know whom to write to before it blocks anyone.
        api_key: allows ten requests a second in place of three.
        timeout: seconds without a byte after which a connection counts as lost.
    """

    url: str
    email: str
    api_key: str | None = None
    timeout: float = 60.0

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Set Biopython up for this server, and put its settings back in the end.

        Raises:
            InputError: if Biopython is not installed.
        """
        module = _entrez()
        settings: dict[str, Any] = {"email": self.email, "api_key": self.api_key, "tool": "hf_genomics", "max_tries": 1}
        settings["urlopen"] = self._open
        before = {name: getattr(module, name) for name in settings}
        try:
            for name, value in settings.items():
                setattr(module, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(module, name, value)

    def _open(self, request: Request) -> Any:
        """Open a request with a time limit, at our server's address."""
        request.full_url = request.full_url.replace(NCBI, self.url.rstrip("/"), 1)
        return urlopen(request, timeout=self.timeout)


def _entrez() -> Any:
    try:
        from Bio import Entrez
    except ImportError as error:
        raise InputError("this verb needs Biopython: pip install 'hf_genomics[download]'") from error
    return Entrez


def fetch(accessions: Iterable[str], file_format: Format) -> Iterator[bytes]:
    """Ask for records and yield them one by one, in the order of the answer, as they arrive.

    Raises:
        UnavailableError: if the connection is lost, or NCBI is too busy; what was yielded before is whole.
        RefusedError: if NCBI answers that the question is wrong.
    """
    asked = ",".join(accessions)
    with _translated():
        answer = _entrez().efetch(db="nuccore", id=asked, rettype=_RETURN_TYPE[file_format], retmode="text")
        with answer:
            yield from split_records(_whole(getattr(answer, "buffer", answer)), file_format)


def _whole(response: Any) -> Iterator[bytes]:
    """Yield the lines of a response; one that ends early is an error, which line by line the library does not raise."""
    yield from io.BufferedReader(response, 1 << 17)
    if response.length:
        raise IncompleteRead(b"", response.length)


def split_records(lines: Iterable[bytes], file_format: Format) -> Iterator[bytes]:
    r"""Cut an answer into records: FASTA before each ``>``, GenBank behind each ``//``.

    >>> list(split_records([b">a\n", b"AC\n", b"\n", b">b\n", b"GT\n"], "fasta"))
    [b'>a\nAC\n', b'>b\nGT\n']
    """
    held: list[bytes] = []
    for line in lines:
        if file_format == "fasta" and line.startswith(b">"):
            yield from _record(held)
            held = []
        held.append(line)
        if file_format == "genbank" and line.rstrip() == b"//":
            yield from _record(held)
            held = []
    yield from _record(held)


def _record(lines: list[bytes]) -> Iterator[bytes]:
    content = b"".join(lines).strip()
    if content:
        yield content + b"\n"


def read_genome(content: bytes, file_format: Format) -> Genome:
    """Read and check one record of an answer.

    Raises:
        ValueError: saying why it is not one whole record of DNA; the start of an error page is quoted.
    """
    from Bio import SeqIO

    text = content.decode("utf-8", "replace")
    if not text.startswith(">" if file_format == "fasta" else "LOCUS "):
        raise ValueError(f"in place of a sequence the server says {quote(text)}")
    if file_format == "genbank" and not text.endswith("\n//\n"):
        raise ValueError("the record is cut short (no // at its end)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Biopython's advice about odd features; we want the letters
            record = next(SeqIO.parse(io.StringIO(text), file_format))
            letters = as_letters(str(record.seq).upper())
    except Exception as error:  # parsers raise what they like on damaged text
        raise ValueError(f"the record cannot be read ({quote(str(error) or type(error).__name__)})") from error
    if not len(letters):
        raise ValueError("the record holds no letters (a master record?); ask for the records it is made of")
    clean = clean_letters(letters)
    if not clean.all():
        place = int(clean.argmin())
        raise ValueError(f"letter {place + 1} of the record is {chr(letters[place])!r}, which is not DNA")
    return Genome(record.id, content, len(letters), hashlib.md5(letters.tobytes(), usedforsecurity=False).hexdigest())


def summaries(accessions: Iterable[str]) -> dict[str, Summary]:
    """Ask ESummary about records; those it does not know are left out (new records without a GI number are).

    Raises:
        UnavailableError: if no answer comes, or none that can be read.
        RefusedError: if NCBI answers that the question is wrong.
    """
    module = _entrez()
    with _translated():
        with module.esummary(db="nuccore", id=",".join(accessions), retmode="xml") as answer:
            content = getattr(answer, "buffer", answer).read()
    try:
        entries = list(module.read(io.BytesIO(content), ignore_errors=True))
        known = {str(one["AccessionVersion"]): _summary(one) for one in entries if isinstance(one, dict)}
    except Exception as error:  # the parser raises what it likes on damaged text
        raise UnavailableError(_no_summary(content.decode("utf-8", "replace"))) from error
    for one in entries:
        if not isinstance(one, dict) and not _UNKNOWN.search(str(one)):
            raise UnavailableError(_no_summary(str(one)))
    return known


def _no_summary(text: str) -> str:
    return f"in place of a summary the server says {quote(text)}"


def _summary(document: Any) -> Summary:
    status, by = str(document.get("Status", "live")), str(document.get("ReplacedBy", ""))
    return Summary(int(document["Length"]), f"{status}, replaced by {by}" if by else status)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Sort what goes wrong into `UnavailableError` and `RefusedError`."""
    try:
        yield
    except HTTPError as error:
        raise _sorted(error) from error
    except (OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error  # whose text looks like markup to `quote`
        raise UnavailableError(f"connection lost: {quote(str(cause) or type(cause).__name__)}") from error


def _sorted(error: HTTPError) -> Exception:
    with contextlib.suppress(OSError, HTTPException):
        text = error.read(2000).decode("utf-8", "replace")
        if error.code == 400 and re.search(r"api[ -]key (is )?(invalid|not valid|wrong)", text, re.I):
            return InputError("NCBI does not know the API key; correct --api_key or NCBI_API_KEY, or ask without one")
        if error.code == 429 or error.code >= 500 or _PASSING.search(text):
            pause = error.headers.get("Retry-After", "")
            return UnavailableError(
                f"HTTP {error.code} {error.reason}", min(float(pause), _LONGEST_PAUSE) if pause.isdecimal() else 0.0
            )
        return RefusedError(f"HTTP {error.code} {error.reason}: {quote(_without_keys(text))}")
    return UnavailableError(f"HTTP {error.code} {error.reason}")


def _without_keys(text: str) -> str:
    """Take out what NCBI repeats of the caller's key."""
    return re.sub(r'"api-key":\s*"[^"]*",?\s*', "", text)


def quote(text: str, width: int = 80) -> str:
    """Quote the words of a message or page, without markup, on one line of bounded length."""
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    return repr(words if len(words) <= width else words[: width - 3] + "...")
