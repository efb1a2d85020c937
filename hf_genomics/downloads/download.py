"""Fetch genomes from NCBI by accession: the verb ``download``, the only one that uses the network.

Every record is checked before it gets its name: it is the one that was asked for, DNA, as long as the list or ESummary
says, with the MD5 of the list or of the first time it was fetched. A run that is interrupted or killed leaves whole
files only, and the next one goes on from there (`genome_folder`).
"""

from __future__ import annotations

import io
import logging
import os
import shutil
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple, get_args

from tqdm.auto import tqdm

from ..errors import InputError
from .accessions import Wanted, read_accessions, version_of
from .entrez import NCBI, Format, Genome, RefusedError, Server, Summary, UnavailableError, fetch, read_genome, summaries
from .genome_folder import Found, GenomeFolder

logger = logging.getLogger(__name__)

_GIVE_UP_AFTER = 3  # batches in a row that the server never answered
_SURE_AFTER = 3  # a record that comes so often in the same wrong form is no accident of the line


def download(
    accessions: str,
    output_dir: str,
    format: Format = "fasta",
    email: str | None = None,
    api_key: str | None = None,
    batch_size: int = 20,
    retries: int = 5,
    wait: float = 1.0,
    timeout: float = 60.0,
    server: str = NCBI,
) -> dict[str, Any]:
    """Fetch genomes from NCBI by accession, check them, and keep one file for each.

    Run it again after an interruption or a failure: what is there and right is not fetched again. ``manifest.tsv`` in
    the folder holds accession with version, length and MD5, and the list's other columns; it is a metadata table:
    ``hf-genomics prepare --fasta genomes/*.fasta --metadata genomes/manifest.tsv --output_dir store``.

    Args:
        accessions: list, one accession a line, or a table (CSV, TSV, Parquet) with a column ``accession``; its columns
            ``length`` and ``sequence_md5`` (MD5 of the upper-case letters), where it has them, are checked.
        output_dir: folder for the files, ACCESSION.VERSION.fasta or .gb.
        format: "fasta" or "genbank".
        email: your address, which NCBI's rules ask for; by default the environment variable NCBI_EMAIL.
        api_key: your NCBI API key (ten requests a second in place of three); by default NCBI_API_KEY.
        batch_size: records of one request, held in memory until they are checked; 1 for chromosomes.
        retries: further tries when the server is busy, silent, or sends half an answer.
        wait: seconds before the second try; doubled before each further one.
        timeout: seconds without a byte after which a connection counts as lost.
        server: address of the E-utilities (for a mirror).

    Returns:
        counts: accessions, fetched, already_there, nt; and the manifest.

    Raises:
        InputError: if the list or an option is wrong (nothing is fetched then), or if some accessions could not be
            fetched: a table of them has been logged and is in ``failed.tsv``; all others are in the folder.
    """
    _check_options(format, batch_size, retries, wait, timeout)
    wanted = read_accessions(accessions)
    folder = GenomeFolder.open(Path(output_dir), format)
    missing = [one for one in wanted if not folder.has(one)]
    failed: dict[str, str] = {}
    if missing:
        fetching = _Fetching(folder, format, retries, wait)
        with Server(server, _email(email), api_key or os.environ.get("NCBI_API_KEY") or None, timeout).asked():
            folder.make()
            failed = fetching.run(missing, batch_size)
    folder.finish(wanted, failed)
    if failed:
        logger.warning("%s", _table(failed))
        first, reason = next(iter(failed.items()))
        others = f"the others are in {folder.path}: " if len(failed) < len(wanted) else ""
        raise InputError(
            f"{len(failed)} of {len(wanted)} accessions could not be fetched, {first} because: {reason} "
            f"(all in {folder.path / 'failed.tsv'}); {others}run the command again, or take them off the list"
        )
    rows = {row["accession"]: int(row["length"]) for row in map(folder.row, wanted) if row}
    counts = {"accessions": len(wanted), "fetched": len(missing), "already_there": len(wanted) - len(missing)}
    return {**counts, "nt": sum(rows.values()), "manifest": str(folder.path / "manifest.tsv")}


def _check_options(format: str, batch_size: int, retries: int, wait: float, timeout: float) -> None:
    if format not in get_args(Format):
        raise InputError(f"format must be fasta or genbank, not {format!r}")
    if not 1 <= batch_size <= 200:
        raise InputError(f"batch_size must lie in 1..200, not {batch_size}")
    if retries < 0 or wait < 0 or timeout <= 0:
        raise InputError(
            f"retries ({retries}) and wait ({wait}) must be 0 or more, timeout ({timeout}) more than 0 seconds"
        )


def _email(given: str | None) -> str:
    email = given or os.environ.get("NCBI_EMAIL", "")
    if "@" not in email:
        raise InputError("email: NCBI asks everyone for an address; give --email you@example.org or set NCBI_EMAIL")
    return email


class Answer(NamedTuple):
    """What one request brought.

    Attributes:
        found: records by the accession that was asked for.
        wrong: why a record that came was not taken, by the accession that was asked for.
        problem: what went wrong with the answer as a whole.
    """

    found: dict[str, Found]
    wrong: dict[str, str]
    problem: UnavailableError | RefusedError | None


@dataclass
class _Fetching:
    """The way through a list: in batches, halved where one bad accession spoils an answer, each tried several times."""

    folder: GenomeFolder
    format: Format
    retries: int
    wait: float
    failed: dict[str, str] = field(default_factory=dict)
    done: int = 0
    unanswered: int = 0  # batches in a row that were given up for want of an answer
    rejected: Counter[tuple[str, str]] = field(
        default_factory=Counter
    )  # accession and sequence_md5 of what was not taken

    def run(self, wanted: list[Wanted], batch_size: int) -> dict[str, str]:
        """Fetch all; returns why what is missing is missing, by accession."""
        queue = deque((wanted[start : start + batch_size], 0) for start in range(0, len(wanted), batch_size))
        quiet = not logger.isEnabledFor(logging.INFO)
        with tqdm(total=len(wanted), unit="genome", desc="download", disable=quiet or None) as bar:
            while queue:
                batch, attempt = queue.popleft()
                if self.unanswered >= _GIVE_UP_AFTER:
                    self.failed |= {one.accession: "not tried: the server had stopped answering" for one in batch}
                    continue
                queue.extendleft(reversed(self._step(batch, attempt)))
                bar.update(self.done + len(self.failed) - bar.n)
        return self.failed

    def _step(self, batch: list[Wanted], attempt: int) -> list[tuple[list[Wanted], int]]:
        """Ask for a batch, keep what is good, and return what to ask next, each with the number of tries it has had."""
        answer = self._ask(batch)
        self.folder.keep(answer.found.values())
        self.done += len(answer.found)
        left = [one for one in batch if one.accession not in answer.found and one.accession not in self.failed]
        if answer.found:
            self.unanswered = 0
        if not left:
            return []
        if isinstance(answer.problem, RefusedError):
            if len(left) > 1:
                return self._halves(left, 0)
            self._drop(left, answer)
            return []
        if answer.found:
            if answer.problem:
                self._pause(answer, 0)
            return [(left, 0)]
        if attempt and answer.problem is None:
            known = self._without_unknown(left, answer)
            if len(known) < len(left):  # what was unknown may have spoilt the rest
                return [(known, 0)] if known else []
        if attempt < self.retries:
            self._pause(answer, attempt)
            return [(left, attempt + 1)]
        if len(left) > 1 and answer.problem is None:
            return self._halves(left, self.retries)
        self.unanswered += answer.problem is not None
        self._drop(left, answer)
        return []

    def _halves(self, batch: list[Wanted], attempt: int) -> list[tuple[list[Wanted], int]]:
        middle = len(batch) // 2
        return [(batch[:middle], attempt), (batch[middle:], attempt)]

    def _pause(self, answer: Answer, attempt: int) -> None:
        asked_for = answer.problem.pause if isinstance(answer.problem, UnavailableError) else 0.0
        sleep(max(self.wait * 2**attempt, asked_for))

    def _without_unknown(self, batch: list[Wanted], answer: Answer) -> list[Wanted]:
        """Give up on what NCBI does not know or has taken back, so that no time is lost on asking for it again."""
        known = _summaries(batch)
        if known is None:
            return batch
        lost = [one for one in batch if _status(one, known) != "live"]
        self._drop(lost, answer, known)
        return [one for one in batch if one not in lost]

    def _drop(self, batch: list[Wanted], answer: Answer, known: dict[str, Summary] | None = None) -> None:
        """Give up on accessions, and say why as well as can be known."""
        if known is None and not isinstance(answer.problem, UnavailableError):
            known = _summaries(batch)
        for one in batch:
            reason = answer.wrong.get(one.accession) or str(answer.problem or "the server's answer leaves it out")
            self.failed[one.accession] = reason + (_standing(_status(one, known)) if known is not None else "")

    def _ask(self, batch: list[Wanted]) -> Answer:
        """Ask for a batch once and check everything that comes."""
        found: dict[str, Found] = {}
        wrong: dict[str, str] = {}
        problem: UnavailableError | RefusedError | None = None
        try:
            for content in fetch([one.accession for one in batch], self.format):
                self._look_at(content, batch, found, wrong)
        except (UnavailableError, RefusedError) as error:
            problem = error
        try:
            self._check_lengths(batch, found, wrong)
        except UnavailableError as error:
            problem = problem or error
        return Answer(found, wrong, problem)

    def _look_at(self, content: bytes, batch: list[Wanted], found: dict[str, Found], wrong: dict[str, str]) -> None:
        """Sort one record of an answer into found or wrong."""
        try:
            genome = read_genome(content, self.format)
        except ValueError as error:
            name = content[1:].split(None, 1)[0].decode("utf-8", "replace") if content.startswith(b">") else ""
            about = [one for one in batch if one.is_answered_by(name)] or (batch if not found else [])
            wrong.update({one.accession: str(error) for one in about})
            return
        answered = [one for one in batch if one.is_answered_by(genome.accession)]
        for one in answered:
            if one.accession in found and version_of(found[one.accession].genome.accession) > version_of(
                genome.accession
            ):
                continue  # asked for without a version, and with an older one beside it
            self._take(one, Found(genome, "list" if one.length else "nothing"), found, wrong)
        if not answered and len(batch) == 1:
            wrong[batch[0].accession] = f"the server sends {genome.accession} in its place"

    def _take(self, one: Wanted, came: Found, found: dict[str, Found], wrong: dict[str, str]) -> None:
        """Compare a record with what is known of it; one that comes three times in the same wrong way stays wrong."""
        fault = self._fault(one, came.genome)
        if fault is None:
            found[one.accession] = came
            wrong.pop(one.accession, None)
            return
        wrong[one.accession] = fault
        self.rejected[one.accession, came.genome.sequence_md5] += 1
        if self.rejected[one.accession, came.genome.sequence_md5] == _SURE_AFTER:
            self.failed[one.accession] = fault

    def _fault(self, one: Wanted, genome: Genome) -> str | None:
        """Say how a record differs from the list or from its first fetch."""
        newer = "" if "." in one.accession else f" (the list names no version, this is {genome.accession})"
        if one.length not in (None, genome.length):
            return f"came with {genome.length:,} nt, the list says {one.length:,}{newer}"
        if one.sequence_md5 not in (None, genome.sequence_md5):
            return f"came with sequence MD5 {genome.sequence_md5}, the list says {one.sequence_md5}{newer}"
        before = self.folder.rows.get(genome.accession)
        if before and before["sequence_md5"] != genome.sequence_md5:
            return f"came with sequence MD5 {genome.sequence_md5}, the first time with {before['sequence_md5']}"
        return None

    def _check_lengths(self, batch: list[Wanted], found: dict[str, Found], wrong: dict[str, str]) -> None:
        """Compare what the list has no length for with ESummary; what ESummary does not know stays unchecked.

        Raises:
            UnavailableError: if there is no summary to be had; nothing unchecked is left in ``found`` then.
        """
        unknown = {asked: came.genome for asked, came in found.items() if came.length_from == "nothing"}
        if not unknown:
            return
        try:
            known = summaries(genome.accession for genome in unknown.values())
        except RefusedError:
            known = {}
        except UnavailableError:
            for asked in unknown:
                del found[asked]
            raise
        for asked, genome in unknown.items():
            summary = known.get(genome.accession)
            if summary is None:
                logger.warning("%s: neither the list nor ESummary knows its length; kept unchecked", genome.accession)
            elif summary.length != genome.length:
                del found[asked]
                wrong[asked] = f"came with {genome.length:,} nt, ESummary says {summary.length:,}"
            else:
                found[asked] = Found(genome, "esummary")
                if summary.status != "live":
                    logger.warning("%s: NCBI calls the record %s; kept", genome.accession, summary.status)


def _summaries(batch: list[Wanted]) -> dict[str, Summary] | None:
    """Ask what NCBI knows of records that do not come; None where it does not say."""
    try:
        return summaries(one.accession for one in batch)
    except RefusedError:
        return {} if len(batch) == 1 else None
    except UnavailableError:
        return None


def _status(one: Wanted, known: dict[str, Summary]) -> str | None:
    return next((summary.status for name, summary in known.items() if one.is_answered_by(name)), None)


def _standing(status: str | None) -> str:
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
