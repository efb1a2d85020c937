"""A stand-in for NCBI's E-utilities on this machine, which misbehaves on demand."""

from __future__ import annotations

import csv
import gzip
import io
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

BUNDLED = Path(__file__).resolve().parents[1] / "recipes" / "data" / "quickstart"
PAGE = "<!DOCTYPE html><html><body><h1>Scheduled maintenance</h1></body></html>"
SUMMARY = """<?xml version="1.0" encoding="UTF-8" ?>
<!DOCTYPE eSummaryResult PUBLIC "-//NLM//DTD esummary v1 20041029//EN"
  "https://eutils.ncbi.nlm.nih.gov/eutils/dtd/20041029/esummary-v1.dtd">
<eSummaryResult>{}</eSummaryResult>
"""
ITEMS = """<DocSum><Id>1</Id><Item Name="Caption" Type="String">{name}</Item>
<Item Name="Length" Type="Integer">{length}</Item><Item Name="Status" Type="String">{status}</Item>
<Item Name="ReplacedBy" Type="String">{by}</Item>
<Item Name="AccessionVersion" Type="String">{accession}</Item></DocSum>"""


class Entry(NamedTuple):
    """What the database holds of one accession.version; ``sent`` False: summarised, but its sequence never comes."""

    sequence: str
    status: str = "live"
    by: str = ""
    sent: bool = True
    summarised: bool = True


def bundled(*accessions: str) -> dict[str, Entry]:
    """Real genomes of the quickstart by accession.version, all but the largest by default."""
    with (BUNDLED / "metadata.tsv").open(newline="") as handle:
        names = [row["accession"] for row in csv.DictReader(handle, delimiter="\t")]
    wanted = accessions or [name for name in names if name != "NC_000932.1"]
    found = {}
    for name in wanted:
        with gzip.open(BUNDLED / f"{name.partition('.')[0]}.fasta.gz", "rt") as handle:
            sequence = "".join(line.strip() for line in handle if not line.startswith(">"))
        found[name if "." in name else f"{name}.1"] = Entry(sequence)
    return found


def fasta(accession: str, sequence: str) -> str:
    """A record as efetch writes it: 70 letters a line, an empty line behind it."""
    lines = [sequence[start : start + 70] for start in range(0, len(sequence), 70)]
    return "\n".join([f">{accession} A virus, complete genome", *lines]) + "\n\n"


def genbank(accession: str, sequence: str) -> str:
    """A record in GenBank's format."""
    record = SeqRecord(Seq(sequence), accession, accession.partition(".")[0], "A virus")
    record.annotations["molecule_type"] = "DNA"
    text = io.StringIO()
    SeqIO.write(record, text, "genbank")
    return text.getvalue() + "\n"


class EntrezServer(ThreadingHTTPServer):
    """Answers efetch and esummary from ``entries``, after it has done the ``misdeeds``, one for each efetch.

    ``unknown`` says what becomes of a request with an id that it does not have: "refuse" it as a whole (400), "omit"
    the id, or write a line of "text" in its place.
    """

    daemon_threads = True

    def __init__(self, entries: dict[str, Entry]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.entries, self.misdeeds, self.unknown = entries, [], "refuse"
        self.summary_misdeeds: list[str] = []
        self.asked: list[tuple[str, list[str], dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/eutils"

    def fetched(self) -> list[list[str]]:
        """The ids of each efetch so far."""
        return [ids for what, ids, _ in self.asked if what == "efetch"]

    def find(self, name: str) -> str | None:
        """The newest version of an accession, or the one that is named."""
        versions = [key for key in self.entries if name in (key, key.partition(".")[0])]
        return max(versions, default=None)

    def handle_error(self, request, address) -> None:
        """Ignore connections that the client, or a misdeed, has cut."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: EntrezServer

    def log_message(self, *args) -> None:
        """Log nothing."""

    def do_POST(self) -> None:  # noqa: N802 (the library's name)
        """A long list of ids comes in the body."""
        self.respond(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def do_GET(self) -> None:  # noqa: N802
        """A short one in the address."""
        self.respond(self.path.partition("?")[2])

    def respond(self, query: str) -> None:
        """Note what was asked, misbehave if it is time to, else answer."""
        parameters = {name: values[0] for name, values in parse_qs(query).items()}
        what = self.path.partition("?")[0].rpartition("/")[2].removesuffix(".fcgi")
        ids = parameters["id"].split(",")
        self.server.asked.append((what, ids, parameters))
        queue = self.server.misdeeds if what == "efetch" else self.server.summary_misdeeds
        misdeed = queue.pop(0) if queue else ""
        code, text = self.sequences(ids, parameters) if what == "efetch" else self.summaries(ids)
        if hasattr(self, f"do_{misdeed}"):
            getattr(self, f"do_{misdeed}")(text.encode())
        elif misdeed.isdecimal():
            self.send(
                int(misdeed), b'{"error":"no","api-key":"SECRET"}', {"Retry-After": "7"} if misdeed == "429" else {}
            )
        elif misdeed:
            self.send(200, misdeed.encode(), {}, "text/html" if misdeed == PAGE else "text/plain")
        else:
            self.send(code, text.encode(), {}, "text/xml" if what == "esummary" else "text/plain")

    def sequences(self, ids: list[str], parameters: dict[str, str]) -> tuple[int, str]:
        """The records asked for."""
        write = fasta if parameters["rettype"] == "fasta" else genbank
        texts = []
        for name in ids:
            found = self.server.find(name)
            if found and self.server.entries[found].sent:
                texts.append(write(found, self.server.entries[found].sequence))
            elif self.server.unknown == "refuse":
                return 400, f"Error: F a i l e d  t o  u n d e r s t a n d  i d :  {name}"
            elif self.server.unknown == "text":
                texts.append(f"Failed to retrieve sequence: {name}\n")
        return 200, "".join(texts)

    def summaries(self, ids: list[str]) -> tuple[int, str]:
        """Document summaries, version 1."""
        texts = []
        for name in ids:
            found = self.server.find(name)
            if found and (entry := self.server.entries[found]).summarised:
                values = {"name": name, "accession": found, "length": len(entry.sequence)}
                texts.append(ITEMS.format(**values, status=entry.status, by=entry.by))
            else:
                texts.append(f"<ERROR>Invalid uid {name} at position= 0</ERROR>")
        return 200, SUMMARY.format("".join(texts))

    def send(self, code: int, body: bytes, headers: dict[str, str], kind: str = "text/plain") -> None:
        """Answer in full."""
        self.send_response(code)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_cut(self, body: bytes) -> None:
        """Promise all, send two thirds, hang up."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: 2 * len(body) // 3])
        self.close_connection = True

    def do_chunked_cut(self, body: bytes) -> None:
        """The same in chunks."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        half = body[: len(body) // 2]
        self.wfile.write(f"{len(half):x}\r\n".encode() + half + b"\r\n")
        self.close_connection = True

    def do_short(self, body: bytes) -> None:
        """A whole answer, for all that HTTP can tell, without its last letters."""
        self.send(200, body[: len(body) - 200], {})

    def do_other_letters(self, body: bytes) -> None:
        """Right length, other letters."""
        self.send(200, body.replace(b"ACGT", b"TGCA"), {})

    def do_relayed(self, body: bytes) -> None:
        """A 400 that passes on another server's trouble."""
        self.send(400, b"<ERROR>Error in proxy_stream(): 502 Bad Gateway</ERROR>", {})

    def do_hang_up(self, body: bytes) -> None:
        """Close without a word."""
        self.close_connection = True

    def do_silent(self, body: bytes) -> None:
        """Send nothing for longer than the client waits."""
        time.sleep(1.0)
        self.close_connection = True


@contextmanager
def serving(entries: dict[str, Entry]):
    """Run a server for the length of a block."""
    server = EntrezServer(entries)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
