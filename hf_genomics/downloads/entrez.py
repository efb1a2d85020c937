"""Request sequences from NCBI's E-utilities through Biopython's Entrez, and check the answers.

Biopython builds the requests and keeps NCBI's rate limit (three a second, ten with an API key). It repeats requests
without a pause, sets no time limit and checks no content: retries, time limits and checks are done here.
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
from ..sequence import as_letters
from ..sequence_files.fasta import clean_letters

NCBI = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
Format = Literal["fasta", "genbank"]

_RETURN_TYPE = {"fasta": "fasta", "genbank": "gbwithparts"}  # plain "gb" omits the letters of assembled records (CON)
_LONGEST_PAUSE = 120.0  # seconds
# Text of an HTTP error, usually 400, that is a failure inside NCBI (a relayed 502), not a mistake in the request.
_TEMPORARY = re.compile(r"proxy_stream|temporar|unavailable|bad gateway|failed to connect|try again|timed? ?out", re.I)
# Text of ESummary's error for an unknown id; its other errors are temporary.
_UNKNOWN = re.compile(r"invalid (u?id|value)|cannot get document|not found", re.I)


class FetchedRecord(NamedTuple):
    """One record of an answer, as it came.

    Attributes:
        accession: accession with version.
        content: the record, byte for byte.
        length: length in nt.
        sequence_md5: MD5 of the upper-case letters.
    """

    accession: str
    content: bytes
    length: int
    sequence_md5: str


class Summary(NamedTuple):
    """What ESummary says about a record.

    Attributes:
        length: length in nt.
        status: "live", or for instance "suppressed", or "dead, replaced by X.2".
    """

    length: int
    status: str


class UnavailableError(Exception):
    """No usable answer came, but one may come later.

    Args:
        reason: what happened.
        pause: seconds to wait before the next try, if the server names a time.
    """

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


class RefusedError(Exception):
    """The server rejects the request as it is; usually one of its accessions is wrong."""


@dataclass(frozen=True)
class Server:
    """A server, and the identity that requests to it carry.

    Args:
        url: address of the E-utilities.
        email: your address, to which NCBI writes before it blocks you.
        api_key: your NCBI API key, which allows ten requests a second instead of three.
        timeout: seconds without a byte after which a connection counts as lost.
    """

    url: str
    email: str
    api_key: str | None = None
    timeout: float = 60.0

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """Configure Biopython for this server inside a ``with`` block, and restore its settings at the end.

        The settings are global: use one server at a time.

        Raises:
            InputError: if Biopython is not installed.
        """
        entrez = _entrez()
        settings: dict[str, Any] = {"email": self.email, "api_key": self.api_key, "tool": "hf_genomics", "max_tries": 1}
        settings["urlopen"] = self._open
        before = {name: getattr(entrez, name) for name in settings}
        try:
            for name, value in settings.items():
                setattr(entrez, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(entrez, name, value)

    def _open(self, request: Request) -> Any:
        """Open a request with a time limit, at this server's address."""
        request.full_url = request.full_url.replace(NCBI, self.url.rstrip("/"), 1)
        return urlopen(request, timeout=self.timeout)  # noqa: S310 (`url` is https, or the address of a test's server)


def _entrez() -> Any:
    """Import Biopython's Entrez; its settings are global, since it has no session object."""
    try:
        from Bio import Entrez
    except ImportError as error:
        raise InputError("this verb needs Biopython: pip install 'hf_genomics[download]'") from error
    return Entrez


def fetch(accessions: Iterable[str], file_format: Format) -> Iterator[bytes]:
    """Request records and yield them one by one as they arrive, in the order of the answer.

    Call it inside `Server.connected`, which sets address, identity and time limit.

    Args:
        accessions: accessions with or without version.
        file_format: "fasta" or "genbank".

    Yields:
        The text of one record.

    Raises:
        UnavailableError: if the connection is lost, or NCBI is too busy; records yielded before are complete.
        RefusedError: if NCBI answers that the request is wrong.
    """
    entrez, ids = _entrez(), ",".join(accessions)
    with _translated():
        answer = entrez.efetch(db="nuccore", id=ids, rettype=_RETURN_TYPE[file_format], retmode="text")
        with answer:
            yield from split_records(_lines(_binary(answer)), file_format)


def _binary(answer: Any) -> Any:
    """Return the bytes of an answer, which Biopython wraps as text."""
    return getattr(answer, "buffer", answer)


def _lines(response: Any) -> Iterator[bytes]:
    """Yield the lines of a response; raise an error if it ends early, which http.client does only for ``read()``."""
    yield from io.BufferedReader(response, 1 << 17)
    if response.length:  # bytes that the header announced and that did not come
        raise IncompleteRead(b"", response.length)


def split_records(lines: Iterable[bytes], file_format: Format) -> Iterator[bytes]:
    r"""Split an answer into records: FASTA before each ``>``, GenBank after each ``//``.

    Args:
        lines: lines of the answer, with line ends.
        file_format: "fasta" or "genbank".

    Yields:
        The text of one record, without blank lines around it.

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
    """Join the lines of a record; only blank lines are not a record."""
    content = b"".join(lines).strip()
    if content:
        yield content + b"\n"


def read_record(content: bytes, file_format: Format) -> FetchedRecord:
    """Read and check one record of an answer.

    Args:
        content: text of the record.
        file_format: "fasta" or "genbank".

    Raises:
        ValueError: if it is not a record of DNA, or a GenBank record without its end; the message quotes the start of
            an error page. The text of a FASTA record does not show whether it is complete; `download` compares lengths.
    """
    from Bio import SeqIO

    text = content.decode("utf-8", "replace")
    if not text.startswith(">" if file_format == "fasta" else "LOCUS "):
        raise ValueError(f"instead of a sequence the server says {quote(text)}")
    if file_format == "genbank" and not text.endswith("\n//\n"):
        raise ValueError("the record is cut short (no // at its end)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Biopython warns of odd features; only the letters matter here
            record = next(SeqIO.parse(io.StringIO(text), file_format))
            letters = as_letters(str(record.seq).upper())
    except Exception as error:  # parsers raise all kinds of errors on damaged text
        raise ValueError(f"the record cannot be read ({quote(str(error) or type(error).__name__)})") from error
    if not len(letters):
        raise ValueError("the record holds no letters (a WGS master record?); ask for the records it is made of")
    clean = clean_letters(letters)
    if not clean.all():
        place = int(clean.argmin())
        raise ValueError(f"letter {place + 1} of the record is {chr(letters[place])!r}, which is not DNA")
    return FetchedRecord(
        record.id, content, len(letters), hashlib.md5(letters.tobytes(), usedforsecurity=False).hexdigest()
    )


def summaries(accessions: Iterable[str]) -> dict[str, Summary]:
    """Request the summaries of records from ESummary.

    Call it inside `Server.connected`, which sets address, identity and time limit.

    Args:
        accessions: accessions with or without version.

    Returns:
        The summaries of the records that ESummary knows (it does not know new records without a GI number), by
        accession with version.

    Raises:
        UnavailableError: if no readable answer comes.
        RefusedError: if NCBI answers that the request is wrong.
    """
    entrez = _entrez()
    with _translated():
        with entrez.esummary(db="nuccore", id=",".join(accessions), retmode="xml") as answer:
            content = _binary(answer).read()
    try:
        entries = list(entrez.read(io.BytesIO(content), ignore_errors=True))
        known = {str(one["AccessionVersion"]): _summary(one) for one in entries if isinstance(one, dict)}
    except Exception as error:  # the parser raises all kinds of errors on damaged text
        raise UnavailableError(_no_summary(content.decode("utf-8", "replace"))) from error
    for one in entries:
        if not isinstance(one, dict) and not _UNKNOWN.search(str(one)):
            raise UnavailableError(_no_summary(str(one)))
    return known


def _no_summary(text: str) -> str:
    """Describe an answer that is not a summary."""
    return f"instead of a summary the server says {quote(text)}"


def _summary(document: Any) -> Summary:
    """Read one entry of ESummary's answer."""
    status, by = str(document.get("Status", "live")), str(document.get("ReplacedBy", ""))
    return Summary(int(document["Length"]), f"{status}, replaced by {by}" if by else status)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Translate errors of the connection into `UnavailableError` and `RefusedError`."""
    try:
        yield
    except HTTPError as error:
        raise _translate(error) from error
    except (OSError, HTTPException) as error:
        # The text of a URLError looks like markup to `quote`, so its reason is quoted.
        cause = error.reason if isinstance(error, URLError) else error
        raise UnavailableError(f"connection lost: {quote(str(cause) or type(cause).__name__)}") from error


def _translate(error: HTTPError) -> Exception:
    """Return the error for an HTTP status: `UnavailableError`, `RefusedError`, or `InputError` for a wrong API key."""
    with contextlib.suppress(OSError, HTTPException):
        text = error.read(2000).decode("utf-8", "replace")
        if error.code == 400 and re.search(r"api[ -]key (is )?(invalid|not valid|wrong)", text, re.I):
            return InputError("NCBI does not know the API key; correct --api_key or NCBI_API_KEY, or run without one")
        if error.code == 429 or error.code >= 500 or _TEMPORARY.search(text):
            pause = error.headers.get("Retry-After", "")
            return UnavailableError(
                f"HTTP {error.code} {error.reason}", min(float(pause), _LONGEST_PAUSE) if pause.isdecimal() else 0.0
            )
        return RefusedError(f"HTTP {error.code} {error.reason}: {quote(_without_keys(text))}")
    return UnavailableError(f"HTTP {error.code} {error.reason}")  # the text of the error could not be read


def _without_keys(text: str) -> str:
    """Remove the caller's API key, which NCBI repeats in its answer."""
    return re.sub(r'"api-key":\s*"[^"]*",?\s*', "", text)


def quote(text: str, width: int = 80) -> str:
    """Quote the words of a message or web page, without markup, on one line.

    Args:
        text: the message or page.
        width: longest quotation, in characters.
    """
    words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    return repr(words if len(words) <= width else words[: width - 3] + "...")
