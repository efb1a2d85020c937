"""Fetching genomes by accession, from a server on this machine that misbehaves in every way NCBI's has been seen to."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("Bio", reason="Biopython is not installed (extra `download`)")

import Bio.Entrez
from entrez_server import PAGE, Entry, Handler, bundled, fasta, serving

from hf_genomics import prepare
from hf_genomics.cli import main
from hf_genomics.downloads import download as module
from hf_genomics.downloads.download import Answer, NextStep, Retry, download, next_step
from hf_genomics.downloads.entrez import RefusedError, UnavailableError
from hf_genomics.errors import InputError
from hf_genomics.io import writing

PHIX, LAMBDA, HIV, PLASMID, WHALE = "NC_001422.1", "NC_001416.1", "NC_001802.1", "NC_005816.1", "NC_001321.1"
ERROR_XML = '<?xml version="1.0"?><eFetchResult><ERROR>Unable to obtain query #1</ERROR></eFetchResult>'


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """No proxy, no settings of the user's, and no waiting: neither for NCBI's rate limit nor before another try."""
    for name in ("NCBI_API_KEY", "NCBI_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    clock = Clock()
    monkeypatch.setattr(Bio.Entrez, "time", clock)
    monkeypatch.setattr(Bio.Entrez._open, "previous", 0)
    return clock


@pytest.fixture
def waits(monkeypatch):
    """The seconds waited before further tries."""
    waits = []
    monkeypatch.setattr(module, "sleep", waits.append)
    return waits


@pytest.fixture
def server():
    with serving(bundled(PHIX, LAMBDA, HIV, PLASMID, WHALE)) as server:
        yield server


@pytest.fixture
def fetch(server, tmp_path, waits):
    """Download a list from the server into tmp_path/genomes."""

    def call(*lines, **options):
        (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")
        options = {"email": "a@example.org", "server": server.url, "retry": Retry(timeout=0.4), **options}
        return download(str(tmp_path / "list.txt"), str(tmp_path / "genomes"), **options)

    return call


def manifest(folder):
    with (folder / "manifest.tsv").open(newline="") as handle:
        return {row["accession"]: row for row in csv.DictReader(handle, delimiter="\t")}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def md5(sequence):
    return hashlib.md5(sequence.encode()).hexdigest()


def failures(folder):
    with (folder / "failed.tsv").open(newline="") as handle:
        return {row["accession"]: row["reason"] for row in csv.DictReader(handle, delimiter="\t")}


def test_records_come_as_they_are_with_a_manifest(fetch, server, tmp_path):
    found = fetch(PHIX, HIV, "# a comment", "", "nc_005816.1")
    assert (found["accessions"], found["fetched"], found["already_there"]) == (3, 3, 0)
    folder = tmp_path / "genomes"
    assert names(folder) == [f"{name}.fasta" for name in (PHIX, HIV, PLASMID)] + ["manifest.tsv"]
    for name in (PHIX, HIV, PLASMID):
        entry = server.entries[name]
        content = (folder / f"{name}.fasta").read_text()
        assert content == fasta(name, entry.sequence).rstrip("\n") + "\n"
        row = manifest(folder)[name]
        assert (row["length"], row["sequence_md5"]) == (str(len(entry.sequence)), md5(entry.sequence))
        assert row["file_md5"] == md5(content) and row["length_from"] == "esummary"
    assert found["nt"] == sum(len(server.entries[name].sequence) for name in (PHIX, HIV, PLASMID))
    assert len(server.fetched()) == 1 and server.asked[0][2]["email"] == "a@example.org"


def test_genbank_records_come_whole(fetch, server, tmp_path):
    fetch(PHIX, HIV, format="genbank")
    text = (tmp_path / "genomes" / f"{PHIX}.gb").read_text()
    assert text.startswith("LOCUS") and text.endswith("//\n")
    assert manifest(tmp_path / "genomes")[PHIX]["sequence_md5"] == md5(server.entries[PHIX].sequence)
    with pytest.raises(InputError, match="holds records of another format"):
        fetch(PHIX)


def test_an_accession_without_version_gets_the_newest_one(fetch, server, tmp_path):
    server.entries["NC_001422.2"] = Entry(server.entries[PHIX].sequence[:-5])
    fetch("NC_001422", "NC_001422.1")
    assert set(manifest(tmp_path / "genomes")) == {"NC_001422.1", "NC_001422.2"}
    asked = len(server.asked)
    assert fetch("NC_001422", "NC_001422.1", "NC_001422.2")["fetched"] == 0 and len(server.asked) == asked


def test_two_names_of_one_record_make_one_file(fetch, tmp_path):
    assert fetch("NC_001422", PHIX, PHIX)["accessions"] == 2
    assert names(tmp_path / "genomes") == [f"{PHIX}.fasta", "manifest.tsv"]


def test_nothing_is_asked_when_all_is_there(fetch, server):
    fetch(PHIX, HIV)
    asked = len(server.asked)
    found = fetch(PHIX, HIV, email=None)
    assert (found["fetched"], found["already_there"], len(server.asked)) == (0, 2, asked)


@pytest.mark.parametrize("spoil", ["delete", "damage", "cut"])
def test_a_file_that_is_gone_or_damaged_is_fetched_again(fetch, server, tmp_path, spoil):
    fetch(PHIX, HIV)
    path = tmp_path / "genomes" / f"{HIV}.fasta"
    whole = path.read_bytes()
    path.unlink() if spoil == "delete" else path.write_bytes(b">x\nAC\n" if spoil == "damage" else whole[:500])
    fetch(PHIX, HIV)
    assert path.read_bytes() == whole and server.fetched()[1:] == [[HIV]]


def test_batches_are_as_large_as_asked(fetch, server):
    fetch(PHIX, LAMBDA, HIV, PLASMID, WHALE, batch_size=2)
    assert [len(ids) for ids in server.fetched()] == [2, 2, 1]


@pytest.mark.parametrize(("key", "gap"), [(None, 0.37), ("K", 0.1)])
def test_the_rate_limit_is_kept_without_and_with_a_key(fetch, server, clock, monkeypatch, key, gap):
    monkeypatch.setenv("NCBI_API_KEY", key or "")
    fetch(PHIX, LAMBDA, HIV, PLASMID, WHALE, batch_size=1)
    assert len(server.asked) == 10  # a summary each
    assert clock.slept == pytest.approx([gap] * 9)
    assert {parameters.get("api_key") for _, _, parameters in server.asked} == {key}


@pytest.mark.parametrize(
    "misdeed",
    [
        "429",
        "500",
        "502",
        "503",
        "cut",
        "chunked_cut",
        "short",
        "hang_up",
        "silent",
        "relayed",
        PAGE,
        ERROR_XML,
        "other_letters",
    ],
)
def test_a_passing_fault_is_overcome(server, fetch, waits, tmp_path, misdeed):
    server.misdeeds[:] = [misdeed, misdeed]
    with_facts = [f"{name},{len(entry.sequence)},{md5(entry.sequence)}" for name, entry in server.entries.items()]
    fetch("accession,length,sequence_md5", *with_facts)
    folder = tmp_path / "genomes"
    assert {name: row["sequence_md5"] for name, row in manifest(folder).items()} == {
        name: md5(entry.sequence) for name, entry in server.entries.items()
    }
    assert {row["length_from"] for row in manifest(folder).values()} == {"list"}
    assert waits or misdeed in ("short", "chunked_cut", "cut", "other_letters")


def test_waits_double_and_a_server_that_names_a_time_gets_it(server, fetch, waits):
    server.misdeeds[:] = ["500", "502", "429", "500"]
    fetch(PHIX, retry=Retry(wait=1.5, timeout=0.4))
    assert waits == [1.5, 3.0, 7.0, 12.0]


def test_what_came_before_a_cut_is_kept(server, fetch, tmp_path):
    server.misdeeds[:] = ["cut"]
    fetch(PHIX, HIV, PLASMID, WHALE)
    assert server.fetched() == [[PHIX, HIV, PLASMID, WHALE], [WHALE]]


def test_a_half_record_that_http_calls_whole_is_told_by_its_summary(server, fetch, tmp_path):
    server.misdeeds[:] = ["short"]
    fetch(PHIX)
    assert manifest(tmp_path / "genomes")[PHIX]["length"] == "5386" and len(server.fetched()) == 2


def test_a_summary_that_fails_is_asked_again(server, fetch, tmp_path):
    server.summary_misdeeds[:] = ["500", PAGE, ERROR_XML, "cut"]
    fetch(PHIX)
    assert manifest(tmp_path / "genomes")[PHIX]["length_from"] == "esummary"


def test_a_record_that_esummary_does_not_know_is_kept_and_said_to_be_unchecked(server, fetch, tmp_path, caplog):
    server.entries[PHIX] = server.entries[PHIX]._replace(summarised=False)
    fetch(PHIX, HIV)
    assert [manifest(tmp_path / "genomes")[name]["length_from"] for name in (PHIX, HIV)] == ["nothing", "esummary"]
    assert "NC_001422.1: neither the list nor ESummary has its length; kept unchecked" in caplog.text


@pytest.mark.parametrize("unknown", ["refuse", "omit", "text"])
def test_unknown_accessions_fail_and_all_others_come(server, fetch, tmp_path, caplog, unknown):
    server.unknown = unknown
    with pytest.raises(InputError, match=r"2 of 6 accessions could not be fetched, AB000000 .*again.*failed\.tsv"):
        fetch(PHIX, "AB000000", LAMBDA, HIV, "ZZ999999.1", WHALE)
    folder = tmp_path / "genomes"
    assert set(manifest(folder)) == {PHIX, LAMBDA, HIV, WHALE}
    assert set(failures(folder)) == {"AB000000", "ZZ999999.1"}
    assert all(reason.endswith("NCBI knows no such record") for reason in failures(folder).values())
    assert "2 not fetched" in caplog.text and "ZZ999999.1" in caplog.text
    assert fetch(PHIX, LAMBDA, HIV, WHALE)["fetched"] == 0 and not (folder / "failed.tsv").exists()


@pytest.mark.parametrize("unknown", ["refuse", "omit"])
def test_a_record_that_was_taken_back_says_so(server, fetch, tmp_path, unknown):
    server.unknown = unknown
    server.entries[HIV] = server.entries[HIV]._replace(sent=False, status="suppressed", by="NC_999999.1")
    with pytest.raises(InputError):
        fetch(PHIX, HIV, LAMBDA)
    assert failures(tmp_path / "genomes")[HIV].endswith("NCBI calls the record suppressed, replaced by NC_999999.1")


def test_a_suppressed_record_that_still_comes_is_kept_with_a_warning(server, fetch, caplog):
    server.entries[HIV] = server.entries[HIV]._replace(status="suppressed")
    assert fetch(HIV)["fetched"] == 1
    assert "NC_001802.1: NCBI calls the record suppressed; kept" in caplog.text


@pytest.mark.parametrize(
    ("header", "row", "reason"),
    [
        ("accession\tlength", "NC_001422\t5387", "came with 5,386 nt, the list says 5,387 (the list names no version"),
        ("accession\tmd5", f"{PHIX}\t{'0' * 32}", "the list says 00000000000000000000000000000000"),
    ],
)
def test_a_record_other_than_the_list_says_fails_without_many_tries(server, fetch, tmp_path, header, row, reason):
    with pytest.raises(InputError, match="1 of 1"):
        fetch(header, row)
    assert reason in next(iter(failures(tmp_path / "genomes").values()))
    assert len(server.fetched()) == 3 and not list((tmp_path / "genomes").glob("*.fasta"))


def test_a_record_that_changed_since_its_first_fetch_fails(server, fetch, tmp_path):
    fetch(PHIX)
    (tmp_path / "genomes" / f"{PHIX}.fasta").unlink()
    server.entries[PHIX] = Entry(server.entries[PHIX].sequence.replace("ACGT", "TGCA"))
    with pytest.raises(InputError):
        fetch(PHIX)
    assert ", the first time with " in failures(tmp_path / "genomes")[PHIX]


@pytest.mark.parametrize(("sequence", "reason"), [("MKVLAAGE", "'L', which is not DNA"), ("", "holds no letters")])
def test_what_is_not_dna_fails(server, fetch, tmp_path, sequence, reason):
    server.entries["NP_000001.1".replace("NP_", "AB")] = Entry(sequence)
    with pytest.raises(InputError):
        fetch("AB000001", PHIX)
    assert reason in failures(tmp_path / "genomes")["AB000001"]
    assert set(manifest(tmp_path / "genomes")) == {PHIX}


def test_another_record_in_place_of_the_one_asked_for_is_not_taken(server, fetch, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "find", lambda name: HIV)
    with pytest.raises(InputError):
        fetch(PHIX)
    assert failures(tmp_path / "genomes")[PHIX].startswith("the server sends NC_001802.1 instead")


def test_a_server_that_is_gone_is_not_asked_for_ever(server, fetch, tmp_path):
    server.misdeeds[:] = ["", *["503"] * 1000]
    with pytest.raises(InputError, match="4 of 5"):
        fetch(PHIX, LAMBDA, HIV, PLASMID, WHALE, batch_size=1, retry=Retry(2, timeout=0.4))
    assert len(server.fetched()) == 1 + 3 * 3
    reasons = failures(tmp_path / "genomes")
    assert reasons[LAMBDA].startswith("HTTP 503")
    assert reasons[WHALE] == "not tried: the server had stopped answering"
    assert set(manifest(tmp_path / "genomes")) == {PHIX}


def test_a_server_that_answers_now_and_then_is_asked_for_the_whole_list(server, fetch, tmp_path):
    server.misdeeds[:] = ["503", "", "503", "", "503"]  # it refuses the unknown accessions, which is an answer
    with pytest.raises(InputError, match="5 of 6"):
        fetch(PHIX, "AB000001", LAMBDA, "AB000002", HIV, WHALE, batch_size=1, retry=Retry(0, timeout=0.4))
    assert set(manifest(tmp_path / "genomes")) == {WHALE}


@pytest.mark.parametrize("empty", [">\n", ">   \n"])
def test_a_record_without_a_name_and_letters_is_no_record(server, fetch, tmp_path, empty):
    server.misdeeds[:] = [empty]
    assert fetch(PHIX, HIV)["fetched"] == 2
    server.misdeeds[:] = [empty] * 10
    with pytest.raises(InputError, match="NC_001416.1 because: the record holds no letters"):
        fetch(LAMBDA)
    assert set(manifest(tmp_path / "genomes")) == {PHIX, HIV}


def test_no_connection_at_all_is_a_list_of_failures(fetch, tmp_path, server):
    url, _ = server.url, server.server_close()
    with pytest.raises(InputError, match="1 of 1 .* because: connection lost: .*[Cc]onnection refused") as caught:
        fetch(PHIX, server=url, retry=Retry(1))
    assert "the others" not in str(caught.value)
    assert "refused" in failures(tmp_path / "genomes")[PHIX]


def test_a_wrong_key_ends_it_at_once_and_is_not_repeated(server, fetch, monkeypatch):
    body = b'{"error":"API key invalid","api-key":"SECRET","type":"eutils"}'
    asked = []
    monkeypatch.setattr(Handler, "respond", lambda self, query: (asked.append(query), self.send(400, body, {})))
    with pytest.raises(InputError, match="does not know the API key") as caught:
        fetch(PHIX, HIV, batch_size=1, api_key="SECRET")
    assert "SECRET" not in str(caught.value) and len(asked) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"email": None}, "NCBI requires an address; give --email you@example.org or set NCBI_EMAIL"),
        ({"batch_size": 0}, "batch_size must lie in 1..200, not 0"),
        ({"format": "embl"}, "format must be fasta or genbank, not 'embl'"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_done(server, fetch, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        fetch(PHIX, **options)
    assert not (tmp_path / "genomes").exists() and not server.asked


@pytest.mark.parametrize("wrong", [{"times": -1}, {"wait": -0.1}, {"timeout": 0}])
def test_numbers_of_retries_out_of_range_are_errors(wrong):
    with pytest.raises(InputError, match=f"retry: .*{next(iter(wrong))}"):
        Retry(**wrong)


def test_old_options_of_retries_keep_working(fetch, waits, server):
    server.misdeeds[:] = ["500"]
    with pytest.warns(FutureWarning, match="retry.times"):
        fetch(PHIX, retries=1, wait=2.5)
    assert waits == [2.5]


def test_biopythons_own_settings_are_put_back(server, fetch, monkeypatch):
    before = (Bio.Entrez.email, Bio.Entrez.api_key, Bio.Entrez.max_tries, Bio.Entrez.urlopen)
    fetch(PHIX, api_key="K")
    assert (Bio.Entrez.email, Bio.Entrez.api_key, Bio.Entrez.max_tries, Bio.Entrez.urlopen) == before


def test_without_biopython_the_way_out_is_named(fetch, monkeypatch):
    monkeypatch.setitem(sys.modules, "Bio", None)
    with pytest.raises(InputError, match=r"pip install 'hf_genomics\[download\]'"):
        fetch(PHIX)


def test_a_run_killed_at_any_step_leaves_whole_files_only_and_goes_on(server, fetch, tmp_path, monkeypatch):
    """Every write, flush and rename in turn is the last thing the process does."""

    class Killed(BaseException):
        pass

    def killing_at(last):
        steps = iter(range(last, -1, -1))

        def step(real):
            def run(*args, **kwargs):
                if next(steps) == 0:
                    raise Killed
                return real(*args, **kwargs)

            return run

        return step

    right = {f"{name}.fasta": fasta(name, entry.sequence).strip() for name, entry in server.entries.items()}
    folder = tmp_path / "genomes"
    for last in range(1000):
        step = killing_at(last)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", step(Path.replace))
            patch.setattr(writing.os, "fsync", step(os.fsync))
            try:
                fetch(*server.entries, batch_size=2)
                finished = True
            except Killed:
                finished = False
        if folder.exists():
            for path in folder.glob("*.fasta"):
                assert path.read_text().strip() == right[path.name]
            rows = manifest(folder) if (folder / "manifest.tsv").exists() else {}
            assert {path.stem for path in folder.glob("*.fasta")} <= set(rows)
        if finished:
            break
        if last % 2:  # go on from there; else start again, so that later steps are reached
            assert fetch(*server.entries)["accessions"] == 5
            assert not list(folder.glob(".*")) and len(list(folder.glob("*.fasta"))) == 5
        for path in folder.glob("[!.]*"):
            path.unlink()
    assert last > 15


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_whole_files_only_and_goes_on(server, tmp_path):
    (tmp_path / "list.txt").write_text("\n".join(server.entries) + "\n")
    options = ["--accessions", "list.txt", "--output_dir", "genomes", "--email", "a@example.org"]
    options += ["--server", server.url, "--batch_size", "2"]
    server.misdeeds[:] = ["", "silent"]
    command = [sys.executable, "-m", "hf_genomics", "download", *options]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    patience = time.monotonic() + 60
    while len(server.fetched()) < 2 and time.monotonic() < patience:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    folder = tmp_path / "genomes"
    first = list(server.entries)[:2]
    assert {path.stem for path in folder.glob("*.fasta")} == set(first)
    found = download(str(tmp_path / "list.txt"), str(folder), email="a@example.org", server=server.url)
    assert (found["fetched"], found["already_there"]) == (3, 2)
    assert set(sum(server.fetched()[2:], [])) == set(server.entries) - set(first)


MISDEEDS = [
    "",
    "429",
    "503",
    "400",
    "cut",
    "chunked_cut",
    "short",
    "hang_up",
    "other_letters",
    "relayed",
    PAGE,
    ERROR_XML,
]


@pytest.mark.parametrize("seed", [*range(11), 237])  # 237: an unknown accession that spoils its neighbour
def test_whatever_goes_wrong_in_any_order_no_wrong_file_is_kept_and_the_rest_comes_later(server, fetch, tmp_path, seed):
    chance = random.Random(seed)
    folder, unknown, known = tmp_path / "genomes", "AB000000", list(server.entries)
    server.unknown = chance.choice(["refuse", "omit", "text"])
    lengths = {name: len(entry.sequence) if chance.random() < 0.5 else "" for name, entry in server.entries.items()}
    digests = {
        name: md5(entry.sequence) for name, entry in server.entries.items()
    }  # or other letters could not be told
    lines = ["accession,length,sequence_md5", *(f"{name},{lengths[name]},{digests[name]}" for name in known)]
    lines.insert(chance.randrange(1, len(lines)), f"{unknown},,")
    for hard in (25, 0):  # the second run finds the server well again
        server.misdeeds[:] = chance.choices(MISDEEDS, k=hard)
        server.summary_misdeeds[:] = chance.choices(["", "503", "400", "cut", "hang_up", PAGE, ERROR_XML], k=hard // 3)
        with pytest.raises(InputError, match="could not be fetched"):
            fetch(*lines, batch_size=chance.randrange(1, 7), retry=Retry(chance.randrange(1, 4), timeout=0.4))
        rows = manifest(folder) if (folder / "manifest.tsv").exists() else {}
        assert set(rows) | set(failures(folder)) == {unknown, *known} and not set(rows) & set(failures(folder))
        assert {path.stem for path in folder.glob("*.fasta")} == set(rows) and not list(folder.glob(".*"))
        for name in rows:
            assert (folder / f"{name}.fasta").read_text().strip() == fasta(name, server.entries[name].sequence).strip()
    assert set(failures(folder)) == {unknown}


def test_what_was_downloaded_can_be_prepared_with_its_manifest(server, fetch, tmp_path):
    lines = [
        f"{name.partition('.')[0]}\t{'phage' if name in (PHIX, LAMBDA) else 'other'}\ttrain" for name in server.entries
    ]
    fetch("accession\tlabel\tsplit", *lines)
    folder = tmp_path / "genomes"
    files = sorted(map(str, folder.glob("*.fasta")))
    store = prepare(files, str(tmp_path / "store"), metadata=str(folder / "manifest.tsv"))
    assert store.contigs.set_index("name")["label"].to_dict() == {
        name: "phage" if name in (PHIX, LAMBDA) else "other" for name in server.entries
    }


def test_the_lists_other_columns_follow_the_list_without_a_new_fetch(server, fetch, tmp_path):
    fetch("accession,label", f"{PHIX},a")
    fetch("accession,split", f"{PHIX},test", f"{HIV},train")
    rows = manifest(tmp_path / "genomes")
    assert (rows[PHIX]["split"], rows[HIV]["split"], "label" in rows[PHIX]) == ("test", "train", False)
    assert server.fetched() == [[PHIX], [HIV]]


def test_the_command_line_ends_with_the_table_and_code_2(server, tmp_path, capsys, monkeypatch, waits):
    monkeypatch.setenv("NCBI_EMAIL", "a@example.org")
    (tmp_path / "list.txt").write_text(f"{PHIX}\nAB000000\n")
    words = ["download", "--accessions", tmp_path / "list.txt", "--output_dir", tmp_path / "g", "--server", server.url]
    assert main([str(word) for word in words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("hf-genomics: error: 1 of 2 accessions could not be")
    (tmp_path / "list.txt").write_text(f"{PHIX}\n")
    assert main([str(word) for word in words]) == 0
    assert "already_there: 1" in capsys.readouterr().out


BROKEN, REFUSED = UnavailableError("HTTP 503"), RefusedError("HTTP 400")


@pytest.mark.parametrize(
    ("records_came", "problem", "num_missing", "tries_left", "step"),
    [
        (True, None, 0, True, NextStep.DONE),
        (False, REFUSED, 2, True, NextStep.HALVE),
        (True, REFUSED, 2, False, NextStep.HALVE),
        (False, REFUSED, 1, True, NextStep.GIVE_UP),
        (True, None, 2, False, NextStep.ASK_FOR_REST),
        (True, BROKEN, 1, False, NextStep.ASK_FOR_REST),
        (False, None, 2, True, NextStep.RETRY),
        (False, BROKEN, 1, True, NextStep.RETRY),
        (False, None, 2, False, NextStep.HALVE),
        (False, BROKEN, 2, False, NextStep.GIVE_UP),
        (False, None, 1, False, NextStep.GIVE_UP),
    ],
)
def test_what_follows_an_answer(records_came, problem, num_missing, tries_left, step):
    answer = Answer({PHIX: None} if records_came else {}, {}, problem)
    assert next_step(answer, num_missing, tries_left) is step
