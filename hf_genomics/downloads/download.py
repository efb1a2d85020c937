"""Fetch genomes from NCBI by accession: the verb ``download``.

Before a record is kept, its accession and alphabet are checked; its length, against the list or NCBI's record summary
(ESummary); and its MD5, against the list and any earlier download. A record whose length neither source knows is kept
with a warning. An interrupted or killed run leaves complete files only, and the next run continues from there (see
`GenomeFolder`).
"""

from __future__ import annotations

import enum
import io
import logging
import os
import shutil
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple, get_args

from ..errors import InputError
from ..io.progress import progress_bar
from ..io.writing import check_output
from ..renamed import renamed
from .accessions import AccessionRequest, read_accessions, version_of
from .entrez import (
    NCBI,
    FetchedRecord,
    Format,
    RefusedError,
    Server,
    Summary,
    UnavailableError,
    fetch,
    read_record,
    summaries,
)
from .genome_folder import GenomeFolder, VerifiedRecord

logger = logging.getLogger(__name__)

_GIVE_UP_AFTER = 3  # batches in succession that the server did not answer
_PERMANENT_AFTER = 3  # a record that arrives wrong in the same way this often is not a transmission error


@dataclass(frozen=True)
class Retry:
    """How often and how soon to repeat a request that failed, and how long to wait for an answer.

    Args:
        times: number of retries after the first attempt, if the server is busy, does not answer, or sends an
            incomplete answer.
        wait: seconds before the first retry; doubled before each further retry.
        timeout: give up a connection after this many seconds without data.

    Raises:
        InputError: if a number is out of range.
    """

    times: int = 5
    wait: float = 1.0
    timeout: float = 60.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.times < 0 or self.wait < 0 or self.timeout <= 0:
            raise InputError(
                f"retry: times ({self.times}) and wait ({self.wait}) must be 0 or more, "
                f"timeout ({self.timeout}) more than 0 seconds"
            )


@renamed(retries="retry.times", wait="retry.wait", timeout="retry.timeout")
def download(
    accessions: str,
    output_dir: str,
    format: Format = "fasta",
    email: str | None = None,
    api_key: str | None = None,
    batch_size: int = 20,
    retry: Retry = Retry(),  # noqa: B008 (frozen)
    server: str = NCBI,
) -> dict[str, Any]:
    """Fetch genomes from NCBI by accession, check them, and keep one file for each.

    Run it again after an interruption or a failure: records that are already in the folder are not fetched again.
    ``manifest.tsv`` in the folder holds accession with version, length and MD5, and the list's other columns; it is a
    metadata table for `prepare`:
    ``hf-genomics prepare --fasta genomes/*.fasta --metadata genomes/manifest.tsv --output_dir store``.

    Args:
        accessions: path of a list with one accession on each line, or of a table (CSV, TSV, Parquet) with a column
            ``accession``; if it has columns ``length`` and ``sequence_md5`` (MD5 of the upper-case letters), records
            are checked against them.
        output_dir: folder for the files, ACCESSION.VERSION.fasta or .gb.
        format: format of the files, "fasta" or "genbank".
        email: your address, which NCBI's rules require; by default the environment variable NCBI_EMAIL.
        api_key: your NCBI API key (ten requests a second instead of three); by default NCBI_API_KEY.
        batch_size: number of records in one request, held in memory until they are checked; use 1 for whole
            chromosomes.
        retry: how often and after what time a request is repeated.
        server: address of NCBI's web service, the E-utilities; change it to use a mirror.

    Returns:
        The counts ``accessions``, ``fetched``, ``already_there`` and ``nt``, and the path of the ``manifest``.

    Raises:
        InputError: if the list or an option is invalid (nothing is fetched then), or if some accessions could not be
            fetched: they are logged as a table and listed in ``failed.tsv``; all others are in the folder.
    """
    _check_options(format, batch_size)
    requests = read_accessions(accessions)
    folder = GenomeFolder.open(Path(output_dir), format)
    missing = [request for request in requests if not folder.has(request)]
    failed: dict[str, str] = {}
    if missing:
        check_output(folder.path, folder=True)
        fetching = _Fetching(folder, format, retry)
        key = api_key or os.environ.get("NCBI_API_KEY") or None
        # `fetch` and `summaries` use the server that is connected here.
        with Server(server, _email(email), key, retry.timeout).connected():
            folder.create()
            failed = fetching.run(missing, batch_size)
    folder.finish(requests, failed)
    if failed:
        raise _failure(failed, len(requests), folder.path)
    lengths = {row["accession"]: int(row["length"]) for row in map(folder.row, requests) if row}
    counts = {"accessions": len(requests), "fetched": len(missing), "already_there": len(requests) - len(missing)}
    return {**counts, "nt": sum(lengths.values()), "manifest": str(folder.path / "manifest.tsv")}


def _check_options(format: str, batch_size: int) -> None:
    """Check options before the first request; the server would not report these mistakes."""
    if format not in get_args(Format):
        raise InputError(f"format must be fasta or genbank, not {format!r}")
    if not 1 <= batch_size <= 200:
        raise InputError(f"batch_size must lie in 1..200, not {batch_size}")


def _email(given: str | None) -> str:
    """Return the e-mail address that NCBI requires."""
    email = given or os.environ.get("NCBI_EMAIL", "")
    if "@" not in email:
        raise InputError("email: NCBI requires an address; give --email you@example.org or set NCBI_EMAIL")
    return email


def _failure(failed: dict[str, str], num_requested: int, folder: Path) -> InputError:
    """Log the table of failures and build the error that ends the verb."""
    logger.warning("%s", _table(failed))
    first, reason = next(iter(failed.items()))
    others = f"; the others are in {folder}" if len(failed) < num_requested else ""
    return InputError(
        f"{len(failed)} of {num_requested} accessions could not be fetched, {first} because: {reason}{others}; run the "
        f"command again, or remove the accessions in {folder / 'failed.tsv'} from the list"
    )


class Answer(NamedTuple):
    """What one request returned.

    Attributes:
        verified: records that passed all checks, by requested accession.
        rejected: why records were not accepted, by requested accession.
        problem: what was wrong with the answer as a whole, if anything.
    """

    verified: dict[str, VerifiedRecord]
    rejected: dict[str, str]
    problem: UnavailableError | RefusedError | None


class NextStep(enum.Enum):
    """What to do with the records of a batch that are missing from an answer."""

    DONE = "nothing is missing"
    ASK_FOR_REST = "ask for what is missing, as for a new batch"
    RETRY = "wait, then ask again"
    HALVE = "ask for each half separately, since one bad accession may spoil the answer"
    GIVE_UP = "record the accessions as failed"


def next_step(answer: Answer, num_missing: int, tries_left: bool) -> NextStep:
    """Choose what to do with the missing records of a batch.

    If a retry verifies no record and meets no error, `_Fetching._step` first asks NCBI which of the records exist, and
    gives up on the others. If there are no others, and in all other cases, the first row that fits decides::

        missing  answer                     tries left  next step
        none     any                        any         DONE
        several  request refused            any         HALVE
        one      request refused            any         GIVE_UP
        any      some verified              any         ASK_FOR_REST
        any      none verified              yes         RETRY
        several  none verified, no problem  no          HALVE
        any      none verified              no          GIVE_UP

    Args:
        answer: the answer to the request.
        num_missing: number of records of the batch that are still missing.
        tries_left: whether the batch may be requested again.
    """
    refused = isinstance(answer.problem, RefusedError)
    if not num_missing:
        return NextStep.DONE
    if refused:
        return NextStep.HALVE if num_missing > 1 else NextStep.GIVE_UP
    if answer.verified:
        return NextStep.ASK_FOR_REST
    if tries_left:
        return NextStep.RETRY
    return NextStep.HALVE if num_missing > 1 and answer.problem is None else NextStep.GIVE_UP


class _Batch(NamedTuple):
    """Records to request together, and how often they were requested before."""

    requests: list[AccessionRequest]
    tries: int = 0


@dataclass
class _Fetching:
    """State of a download, which works through a list batch by batch."""

    folder: GenomeFolder
    format: Format
    retry: Retry
    failed: dict[str, str] = field(default_factory=dict)  # reason by requested accession
    num_done: int = 0
    num_unanswered: int = 0  # batches given up because no answer came, since the last answer
    # How often a record was rejected, by requested accession and MD5 of the letters that came.
    rejections: Counter[tuple[str, str]] = field(default_factory=Counter)

    def run(self, requests: list[AccessionRequest], batch_size: int) -> dict[str, str]:
        """Fetch all records; return why some could not be fetched, by accession."""
        queue = deque(_Batch(requests[start : start + batch_size]) for start in range(0, len(requests), batch_size))
        with progress_bar(logger, "download", "genome", total=len(requests)) as bar:
            while queue:
                batch = queue.popleft()
                if self.num_unanswered >= _GIVE_UP_AFTER:
                    reason = "not tried: the server had stopped answering"
                    self.failed |= {request.accession: reason for request in batch.requests}
                    continue
                queue.extendleft(reversed(self._step(batch)))
                bar.update(self.num_done + len(self.failed) - bar.n)
        return self.failed

    def _step(self, batch: _Batch) -> list[_Batch]:
        """Request a batch, keep the verified records, and return the batches to request next."""
        answer = self._ask(batch.requests)
        self.folder.add(answer.verified.values())
        self.num_done += len(answer.verified)
        if answer.verified or not isinstance(answer.problem, UnavailableError):
            self.num_unanswered = 0
        done = answer.verified.keys() | self.failed.keys()
        missing = [request for request in batch.requests if request.accession not in done]
        if missing and batch.tries and not answer.verified and answer.problem is None:
            # A retry met no error and again brought no record that passes: NCBI may not have some of the records.
            live = self._give_up_on_not_live(missing, answer)
            if len(live) < len(missing):
                return [_Batch(live)] if live else []
        match next_step(answer, len(missing), batch.tries < self.retry.times):
            case NextStep.DONE:
                return []
            case NextStep.ASK_FOR_REST:
                if answer.problem:
                    self._pause(answer, 0)
                return [_Batch(missing)]
            case NextStep.RETRY:
                self._pause(answer, batch.tries)
                return [_Batch(missing, batch.tries + 1)]
            case NextStep.HALVE:
                middle = len(missing) // 2
                # After a refusal (one bad accession spoils the batch) each half gets the full number of tries. If the
                # tries ran out without an error, each half gets one more try.
                tries = 0 if answer.problem else self.retry.times
                return [_Batch(missing[:middle], tries), _Batch(missing[middle:], tries)]
            case NextStep.GIVE_UP:
                self.num_unanswered += isinstance(answer.problem, UnavailableError)
                self._give_up_on(missing, answer)
                return []

    def _pause(self, answer: Answer, tries: int) -> None:
        """Wait before the next try, longer each time, and at least as long as the server asks for."""
        server_pause = answer.problem.pause if isinstance(answer.problem, UnavailableError) else 0.0
        sleep(max(self.retry.wait * 2**tries, server_pause))

    def _give_up_on_not_live(self, requests: list[AccessionRequest], answer: Answer) -> list[AccessionRequest]:
        """Give up on records that NCBI does not know or has withdrawn; return the other records."""
        known = _known_summaries(requests)
        if known is None:
            return requests
        not_live = [request for request in requests if _status(request, known) != "live"]
        self._give_up_on(not_live, answer, known)
        return [request for request in requests if request not in not_live]

    def _give_up_on(
        self, requests: list[AccessionRequest], answer: Answer, known: dict[str, Summary] | None = None
    ) -> None:
        """Record accessions as failed, with the most specific reason there is."""
        if known is None and not isinstance(answer.problem, UnavailableError):
            known = _known_summaries(requests)
        for request in requests:
            reason = answer.rejected.get(request.accession) or str(answer.problem or "the server's answer omits it")
            status = _status_text(_status(request, known)) if known is not None else ""
            self.failed[request.accession] = reason + status

    def _ask(self, requests: list[AccessionRequest]) -> Answer:
        """Send one request and check every record that comes."""
        answer = Answer({}, {}, None)
        problem: UnavailableError | RefusedError | None = None
        try:
            for content in fetch([request.accession for request in requests], self.format):
                self._classify(content, requests, answer)
        except (UnavailableError, RefusedError) as error:
            problem = error
        try:
            self._check_lengths(answer)
        except UnavailableError as error:
            problem = problem or error
        return answer._replace(problem=problem)

    def _classify(self, content: bytes, requests: list[AccessionRequest], answer: Answer) -> None:
        """Add one record of an answer to the verified or to the rejected records."""
        try:
            record = read_record(content, self.format)
        except ValueError as error:
            words = content[1:].split(None, 1) if content.startswith(b">") else []
            name = words[0].decode("utf-8", "replace") if words else ""
            named = [request for request in requests if request.matches(name)]
            # Text without a record name (an error page) may stand for any record, so all are rejected, unless some
            # records have arrived already.
            concerned = named or (requests if not answer.verified else [])
            answer.rejected.update({request.accession: str(error) for request in concerned})
            return
        matching = [request for request in requests if request.matches(record.accession)]
        for request in matching:
            before = answer.verified.get(request.accession)
            if before and version_of(before.record.accession) > version_of(record.accession):
                continue  # requested without a version, and a newer one has arrived already
            self._verify(request, record, answer)
        if not matching and len(requests) == 1:
            answer.rejected[requests[0].accession] = f"the server sends {record.accession} instead"

    def _verify(self, request: AccessionRequest, record: FetchedRecord, answer: Answer) -> None:
        """Accept or reject a record; a record that arrives three times in the same wrong form has failed for good."""
        problem = self._difference(request, record)
        if problem is None:
            # Record what the length was compared with; `_check_lengths` compares the others with ESummary.
            answer.verified[request.accession] = VerifiedRecord(record, "list" if request.length else "nothing")
            answer.rejected.pop(request.accession, None)
            return
        answer.rejected[request.accession] = problem
        key = request.accession, record.sequence_md5
        self.rejections[key] += 1
        if self.rejections[key] == _PERMANENT_AFTER:
            self.failed[request.accession] = problem

    def _difference(self, request: AccessionRequest, record: FetchedRecord) -> str | None:
        """Describe how a record differs from the list or from its first fetch; None if it does not."""
        newest = "" if "." in request.accession else f" (the list names no version, this is {record.accession})"
        if request.length not in (None, record.length):
            return f"came with {record.length:,} nt, the list says {request.length:,}{newest}"
        if request.sequence_md5 not in (None, record.sequence_md5):
            return f"came with sequence MD5 {record.sequence_md5}, the list says {request.sequence_md5}{newest}"
        before = self.folder.rows.get(record.accession)
        if before and before["sequence_md5"] != record.sequence_md5:
            return f"came with sequence MD5 {record.sequence_md5}, the first time with {before['sequence_md5']}"
        return None

    def _check_lengths(self, answer: Answer) -> None:
        """Compare the lengths that the list does not have with ESummary; records that it does not know stay unchecked.

        Raises:
            UnavailableError: if no summary comes; no unchecked record is left in ``answer.verified`` then.
        """
        unchecked = {
            accession: verified.record
            for accession, verified in answer.verified.items()
            if verified.length_from == "nothing"
        }
        if not unchecked:
            return
        try:
            known = summaries(record.accession for record in unchecked.values())
        except RefusedError:  # ESummary knows none of the records: new ones are not in it yet
            known = {}
        except UnavailableError:
            for accession in unchecked:
                del answer.verified[accession]
            raise
        for accession, record in unchecked.items():
            summary = known.get(record.accession)
            if summary is None:
                logger.warning("%s: neither the list nor ESummary has its length; kept unchecked", record.accession)
            elif summary.length != record.length:
                del answer.verified[accession]
                answer.rejected[accession] = f"came with {record.length:,} nt, ESummary says {summary.length:,}"
            else:
                answer.verified[accession] = VerifiedRecord(record, "esummary")
                if summary.status != "live":
                    logger.warning("%s: NCBI calls the record %s; kept", record.accession, summary.status)


def _known_summaries(requests: list[AccessionRequest]) -> dict[str, Summary] | None:
    """Ask NCBI for the summaries of missing records.

    Returns:
        Summaries by accession.version; {} if there is one record and NCBI does not know it; None if NCBI does not
        answer, or refuses a request for several records.
    """
    try:
        return summaries(request.accession for request in requests)
    except RefusedError:
        # For several records, the refusal does not say which of them is unknown.
        return {} if len(requests) == 1 else None
    except UnavailableError:
        return None


def _status(request: AccessionRequest, known: dict[str, Summary]) -> str | None:
    """Return the status of a requested record, None if NCBI does not know it."""
    return next((summary.status for name, summary in known.items() if request.matches(name)), None)


def _status_text(status: str | None) -> str:
    """Describe the status of a record, as the end of a reason."""
    if status is None:
        return "; NCBI knows no such record"
    return "" if status == "live" else f"; NCBI calls the record {status}"


def _table(failed: dict[str, str]) -> str:
    """Draw the table of failures."""
    from rich.console import Console
    from rich.table import Table

    table = Table("accession", "why it is missing", title=f"{len(failed)} not fetched", title_justify="left")
    for accession, reason in failed.items():
        table.add_row(accession, reason)
    buffer = io.StringIO()
    Console(file=buffer, markup=False, width=shutil.get_terminal_size((100, 24)).columns).print(table)
    return buffer.getvalue().rstrip()
