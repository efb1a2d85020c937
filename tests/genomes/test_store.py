"""The genome store: what went in comes out, and a store is whole or not there."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import os
import pickle
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hf_genomics.errors import InputError
from hf_genomics.genomes import letters as letters_module
from hf_genomics.genomes import store as store_module
from hf_genomics.genomes.metadata import RecordRules
from hf_genomics.genomes.store import GenomeStore, prepare
from hf_genomics.sequence_files.fasta import read_records

BY_FILE = RecordRules(genome_by="file")


@pytest.fixture
def fasta(tmp_path: Path) -> list[str]:
    """Two files, three records, 14 nt."""
    (tmp_path / "one.v1.fa").write_text(">a first\nACgtN\n>b\nRYACG\n")
    (tmp_path / "two.fasta").write_text(">c\nTTTT\n")
    return [str(tmp_path / "one.v1.fa"), str(tmp_path / "two.fasta")]


@pytest.fixture(scope="session")
def store_of_lambda(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> GenomeStore:
    """Phage lambda, 48,502 nt."""
    path = repo_root / "recipes" / "data" / "quickstart" / "NC_001416.fasta.gz"
    return prepare([str(path)], str(tmp_path_factory.mktemp("lambda") / "store"))


@pytest.fixture
def output(tmp_path: Path) -> str:
    """Where the store goes: a folder of its own, so that leftovers beside it show."""
    return str(tmp_path / "out" / "genomes")


def metadata(tmp_path: Path, text: str, name: str = "meta.tsv") -> str:
    """Write a metadata table."""
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def leftovers(output: str) -> list[str]:
    """List what stands beside the store."""
    parent = Path(output).parent
    return [name for name in os.listdir(parent) if name != Path(output).name] if parent.exists() else []


def stamp(output: str) -> dict[str, tuple[int, int, bytes]]:
    """Describe the files of a store so that any change shows."""
    found = {}
    for path in Path(output).iterdir():
        found[path.name] = (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
    return found


def test_letters_and_index_are_those_of_the_files(fasta: list[str], output: str) -> None:
    store = prepare(fasta, output)
    assert store.letters.tobytes() == b"ACgtNRYACGTTTT" and store.letters.dtype == np.uint8
    assert store.contigs.to_dict("list") == {
        "name": ["a", "b", "c"],
        "genome": ["a", "b", "c"],
        "start": [0, 5, 10],
        "length": [5, 5, 4],
    }
    assert store.contigs["start"].dtype == store.contigs["length"].dtype == np.int64
    assert (len(store), store.total_nt) == (3, 14) and "3 contigs, 14 nt" in repr(store)
    assert not leftovers(output)


def test_a_window_is_a_read_only_view_of_its_contig(fasta: list[str], output: str) -> None:
    store = prepare(fasta, output)
    assert store.window(1, 2, 3).tobytes() == b"ACG" and store.window(2, 4, 0).tobytes() == b""
    assert type(store.window(0, 0, 5)) is np.ndarray and not store.window(0, 0, 5).flags.writeable
    for start, length in [(-1, 2), (3, 3), (0, 6), (0, -1)]:
        with pytest.raises(IndexError, match="not inside contig 0 of 5 nt"):
            store.window(0, start, length)


def gather_slowly(store: GenomeStore, starts: list[int], lengths: list[int]) -> bytes:
    """Concatenate windows one by one: the obvious twin of `GenomeStore.gather`."""
    letters = store.letters.tobytes()
    return b"".join(letters[start : start + length] for start, length in zip(starts, lengths, strict=True))


@given(data=st.data(), equal=st.booleans())
def test_gather_joins_the_windows_in_the_order_asked(
    store_of_lambda: GenomeStore, data: st.DataObject, equal: bool
) -> None:
    total = store_of_lambda.total_nt
    rows = data.draw(st.integers(0, 20))
    lengths = data.draw(st.lists(st.integers(0, 600), min_size=rows, max_size=rows))
    lengths = [lengths[0]] * rows if equal and rows else lengths
    starts = [data.draw(st.integers(0, total - length)) for length in lengths]
    joined = store_of_lambda.gather(np.array(starts, np.int64), np.array(lengths, np.int64))
    assert joined.dtype == np.uint8 and joined.flags.writeable
    assert joined.tobytes() == gather_slowly(store_of_lambda, starts, lengths)


@pytest.mark.parametrize(("start", "length"), [(-1, 2), (0, -1), (13, 2), (15, 0)])
def test_gather_refuses_a_window_outside_the_store(fasta: list[str], output: str, start: int, length: int) -> None:
    store = prepare(fasta, output)
    with pytest.raises(IndexError, match=r"window 1: \[.*is not inside the store of 14 nt"):
        store.gather(np.array([0, start]), np.array([3, length]))


def test_a_store_pickles_as_its_path(fasta: list[str], output: str) -> None:
    store = prepare(fasta, output)
    pickled = pickle.dumps(store)
    assert len(pickled) < 300 and pickle.loads(pickled).window(0, 0, 5).tobytes() == b"ACgtN"


def test_a_genome_is_a_record_or_a_file(fasta: list[str], output: str, tmp_path: Path) -> None:
    assert list(prepare(fasta, output, records=BY_FILE).contigs["genome"]) == ["one.v1", "one.v1", "two"]
    (tmp_path / "sub").mkdir()
    other = shutil.copy(fasta[1], tmp_path / "sub" / "two.fa")
    with pytest.raises(InputError, match="same genome as"):
        prepare([*fasta, str(other)], output, records=BY_FILE)


def test_rna_and_minimum_length_reach_the_reader(fasta: list[str], output: str, tmp_path: Path) -> None:
    (tmp_path / "rna.fa").write_text(">r\nACGU\n")
    assert prepare([str(tmp_path / "rna.fa")], output, records=RecordRules(rna=True)).letters.tobytes() == b"ACGT"
    with pytest.raises(InputError, match=r"record 1 \('c'\): 4 nt is shorter than the 5 nt"):
        prepare(fasta, output + "2", records=RecordRules(min_length=5))


def test_running_again_changes_nothing(
    fasta: list[str], output: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(fasta, output)
    before = stamp(output)
    moved = [shutil.copy(path, tmp_path / "out") for path in fasta]  # content and name count, not the place
    with caplog.at_level(logging.INFO):
        store = prepare([str(path) for path in moved], output)
    assert stamp(output) == before and "unchanged" in caplog.text and len(store) == 3


@pytest.mark.parametrize("change", ["content", "option", "metadata"])
def test_other_content_is_refused_unless_overwriting(
    fasta: list[str], output: str, tmp_path: Path, change: str
) -> None:
    prepare(fasta, output)
    before = stamp(output)
    if change == "content":
        Path(fasta[1]).write_text(">c\nGGGGG\n")
    table = metadata(tmp_path, "accession\tlabel\na\tx\nb\ty\nc\tx\n") if change == "metadata" else None
    options = {"records": BY_FILE if change == "option" else RecordRules(), "metadata": table}
    with pytest.raises(InputError, match="other content .* differ.*overwrite: true"):
        prepare(fasta, output, **options)
    assert stamp(output) == before and not leftovers(output)
    store = prepare(fasta, output, overwrite=True, **options)
    assert store.total_nt == (15 if change == "content" else 14) and not leftovers(output)


def test_what_is_no_store_is_never_replaced(fasta: list[str], output: str) -> None:
    Path(output).mkdir(parents=True)
    (Path(output) / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is not just a genome store"):
        prepare(fasta, output, overwrite=True)
    (Path(output) / "store.json").write_text("{}")
    with pytest.raises(InputError, match="is not just a genome store"):
        prepare(fasta, output, overwrite=True)
    assert (Path(output) / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="is not just a genome store"):
        prepare(fasta, fasta[0], overwrite=True)


@pytest.mark.parametrize("existing", [False, True])
def test_a_failure_leaves_no_trace(fasta: list[str], output: str, existing: bool) -> None:
    if existing:
        prepare(fasta, output)
    before = stamp(output) if existing else None
    Path(fasta[1]).write_text(">c\nTTTT\n>d\nAC-T\n")
    with pytest.raises(InputError, match=r"two.fasta: record 2 \('d'\), position 3: '-'"):
        prepare(fasta, output, overwrite=True)
    assert not leftovers(output)
    assert (stamp(output) if existing else None) == before and Path(output).exists() == existing


@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupt_or_a_failing_rename_leaves_no_trace(
    fasta: list[str], output: str, existing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if existing:
        prepare(fasta, output)
    before = stamp(output) if existing else None
    rename = os.rename

    def failing(source: str, target: str) -> None:
        if str(source).endswith(".partial"):
            raise OSError(28, "No space left on device")
        rename(source, target)

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(InputError, match="cannot be written: No space left"):
        patch.setattr(os, "rename", failing)
        prepare(fasta, output, overwrite=True, records=BY_FILE)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store_module, "_write_index", interrupted)
        prepare(fasta, output, overwrite=True, records=BY_FILE)
    assert not leftovers(output) and (stamp(output) if existing else None) == before


def test_names_must_be_unique_over_all_files(fasta: list[str], output: str, tmp_path: Path) -> None:
    (tmp_path / "three.fa").write_text(">b\nA\n")
    with pytest.raises(InputError, match=r"three.fa: record 'b' occurs in .*one.v1.fa as well"):
        prepare([*fasta, str(tmp_path / "three.fa")], output)
    with pytest.raises(InputError, match="one.v1.fa: given twice; give each file once"):
        prepare([fasta[0], fasta[0]], output)
    with pytest.raises(InputError, match="no file given"):
        prepare([], output)
    with pytest.raises(InputError, match="none.fa: no such file"):
        prepare(["none.fa"], output)
    assert not Path(output).exists() and not leftovers(output)


TABLE = """\
accession label split group length gc taxid code empty
c x test g1 9 0.5 1 03 NA
a y train g2 9 NA 2 01 NA
b x train g2 9 0.25 NA 02 NA
""".replace(" ", "\t")


@pytest.mark.parametrize("kind", ["tsv", "csv", "parquet"])
def test_metadata_columns_become_contig_columns(fasta: list[str], output: str, tmp_path: Path, kind: str) -> None:
    path = metadata(tmp_path, TABLE if kind != "csv" else TABLE.replace("\t", ","))
    if kind == "parquet":
        pd.read_csv(path, sep="\t", dtype={"code": str}).to_parquet(path)
    contigs = prepare(fasta, output, metadata=path).contigs
    assert list(contigs.columns[:4]) == ["name", "genome", "start", "length"] and "accession" not in contigs
    assert list(contigs["length"]) == [5, 5, 4]  # the table's own is dropped
    assert list(contigs["label"]) == ["y", "x", "x"] and list(contigs["group"]) == ["g2", "g2", "g1"]
    assert list(contigs["code"]) == ["01", "02", "03"] and contigs["empty"].isna().all()
    assert contigs["gc"].isna().tolist() == [True, False, False] and contigs["gc"][1] == 0.25
    if kind != "parquet":  # pandas wrote 2.0 there
        assert str(contigs["taxid"].dtype) == "Int64"
    assert contigs["taxid"][0] == 2


def test_a_metadata_table_may_have_the_key_alone(fasta: list[str], output: str, tmp_path: Path) -> None:
    contigs = prepare(fasta, output, metadata=metadata(tmp_path, "id\na\nb\nc\nd\n"), records=RecordRules("id")).contigs
    assert list(contigs.columns) == ["name", "genome", "start", "length"] and len(contigs) == 3


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("accession\tlabel\na\tx\n", r"no row for 2 of 3 records \('b', 'c'\); column 'accession' must hold"),
        ("Accession\tlabel\na\tx\n", r"no row for 2 of 3 records \('b', 'c'\)"),  # its case may differ
        ("accession\tlabel\na\tx\nb\tx\na\ty\n", "data row 3: 'a' has a row already"),
        ("accession\tlabel\n", "no row below its header"),
        ("", "the file is empty"),
        ("accession\tlabel\na\tx\ty\nb\tx\nc\tx\n", "not a well-formed table"),
    ],
)
def test_bad_metadata_is_refused_before_anything_is_written(
    fasta: list[str], output: str, tmp_path: Path, text: str, pattern: str
) -> None:
    with pytest.raises(InputError, match=pattern):
        prepare(fasta, output, metadata=metadata(tmp_path, text))
    assert not Path(output).exists() and not leftovers(output)


def test_select_gives_the_rows_of_a_split(fasta: list[str], output: str, tmp_path: Path) -> None:
    store = prepare(fasta, output, metadata=metadata(tmp_path, TABLE))
    assert store.select("train").tolist() == [0, 1] and store.select("test").tolist() == [2]
    assert store.select().tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="no contig is in split 'valid'; the splits are 'test', 'train'"):
        store.select("valid")
    with pytest.raises(InputError, match="no column 'split'"):
        prepare(fasta, output + "2").select("train")


def test_a_damaged_store_is_refused_and_can_be_overwritten(fasta: list[str], output: str, tmp_path: Path) -> None:
    prepare(fasta, output)
    whole = tmp_path / "whole"
    shutil.copytree(output, whole)
    info = json.loads((whole / "store.json").read_text())
    others = ({"format": 99}, {"storage": "2bit"}, {"total_nt": 13}, {"total_nt": 15}, {"files": {"x": {"bytes": 1}}})
    damage = {
        "letters.bin": (b"ACG", b"", b"ACgtNRYACGTTTA"),
        "contigs.parquet": (b"PAR1", b"", (whole / "contigs.parquet").read_bytes()[:-1] + b"2"),
        "store.json": (b"{", b"[]", *(json.dumps({**info, **other}).encode() for other in others)),
    }
    for name, contents in damage.items():
        for content in contents:
            (Path(output) / name).write_bytes(content)
            with pytest.raises(InputError, match="damaged store|store format"):
                GenomeStore(output).verify()
            with pytest.raises(InputError, match="prepare it again"):
                prepare(fasta, output)
            assert prepare(fasta, output, overwrite=True).total_nt == 14
        (Path(output) / name).unlink()
        with pytest.raises(InputError, match="damaged store|no genome store here"):
            GenomeStore(output)
        shutil.copy(whole / name, output)
    with pytest.raises(InputError, match="no genome store here"):
        GenomeStore(tmp_path / "nowhere")


@pytest.mark.parametrize("storage", ["8bit", "2bit"])
def test_a_store_cut_anywhere_is_refused(fasta: list[str], output: str, storage: str) -> None:
    prepare(fasta, output, storage=storage)
    for path in Path(output).iterdir():
        whole = path.read_bytes()
        for content in (whole[:-1], whole[: len(whole) // 2], whole + b"\0"):
            if path.name != "store.json" or content != whole[:-1]:  # which is a line end only
                path.write_bytes(content)
                with pytest.raises(InputError, match="damaged store") as caught:
                    GenomeStore(output)
                assert str(caught.value).count("damaged store") == 1
        path.write_bytes(whole)
    GenomeStore(output).verify()


def test_a_changed_letter_is_found_by_verifying(fasta: list[str], output: str) -> None:
    prepare(fasta, output, storage="2bit").verify()
    codes = Path(output) / "codes.bin"
    codes.write_bytes(bytes([codes.read_bytes()[0] ^ 1]) + codes.read_bytes()[1:])
    with pytest.raises(InputError, match="codes.bin is not what was written.*overwrite: true"):
        GenomeStore(output).verify()
    with pytest.raises(InputError, match="codes.bin is not what was written"):
        prepare(fasta, output, storage="2bit")
    assert prepare(fasta, output, storage="2bit", overwrite=True).letters.tobytes() == b"ACgtNRYACGTTTT"


def test_a_full_disk_is_one_line_and_leaves_no_trace(
    fasta: list[str], output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: letters_module.HashedFile, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(letters_module.HashedFile, "write", full)
    with pytest.raises(InputError, match="cannot be written: No space left on device$"):
        prepare(fasta, output)
    assert not Path(output).exists() and not leftovers(output)


def test_inputs_are_hashed_while_they_are_read(fasta: list[str], output: str, tmp_path: Path) -> None:
    packed = tmp_path / "three.fa.gz"
    packed.write_bytes(gzip.compress(b">d\n" + b"ACGT" * 100_000) + gzip.compress(b"\n>e\nA\n"))
    inputs = prepare([*fasta, str(packed)], output).info["inputs"]
    for path, facts in zip([*fasta, str(packed)], inputs, strict=True):
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        assert facts == {"file": Path(path).name, "sha256": digest}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.lists(st.text("ACGTACGTNNacgtacgtnRYry", min_size=1, max_size=300), min_size=1, max_size=8),
    st.data(),
)
def test_both_packings_give_the_same_windows(tmp_path: Path, sequences: list[str], data: st.DataObject) -> None:
    path = tmp_path / "both.fa"
    path.write_text("".join(f">s{i}\n{sequence}\n" for i, sequence in enumerate(sequences)))
    plain, packed = (
        prepare([str(path)], str(tmp_path / storage), storage=storage, overwrite=True) for storage in ("8bit", "2bit")
    )
    assert plain.contigs.equals(packed.contigs) and plain.letters.tobytes() == packed.letters.tobytes()
    lengths = data.draw(st.lists(st.integers(0, plain.total_nt), max_size=10))
    starts = [data.draw(st.integers(0, plain.total_nt - length)) for length in lengths]
    both = [store.gather(np.array(starts, np.int64), np.array(lengths, np.int64)) for store in (plain, packed)]
    assert both[0].tobytes() == both[1].tobytes()
    for contig, length in enumerate(plain.contigs["length"].tolist()):
        start = data.draw(st.integers(0, length))
        windows = [store.window(contig, start, length - start) for store in (plain, packed)]
        assert windows[0].tobytes() == windows[1].tobytes() and not windows[1].flags.writeable


@pytest.mark.parametrize("storage", ["8bit", "2bit"])
@pytest.mark.parametrize("width", [60, 1 << 24])
def test_memory_does_not_grow_with_a_contig(tmp_path: Path, storage: str, width: int) -> None:
    line = (b"ACGTTGCANN" * (width // 10 + 1))[:width] + b"\n"
    (tmp_path / "x.fa").write_bytes(b">x\n" + line * ((1 << 24) // width))
    tracemalloc.start()
    try:
        prepare([str(tmp_path / "x.fa")], str(tmp_path / "store"), storage=storage)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 23  # half of the contig's nt


@pytest.mark.parametrize("file", ["testMask.2bit", "cor6_6.gb", "ls_orchid.gbk.bgz"])
def test_another_format_makes_the_contigs_of_its_fasta(data_dir: Path, tmp_path: Path, file: str) -> None:
    path = data_dir / "awkward" / file
    records = [f">{record.name}\n{record.letters.tobytes().decode()}\n" for record in read_records(path)]
    (tmp_path / "x.fa").write_text("".join(records))
    from_fasta = prepare([str(tmp_path / "x.fa")], str(tmp_path / "one"))
    from_file = prepare([str(path)], str(tmp_path / "two"), storage="2bit")
    assert from_file.contigs.equals(from_fasta.contigs) and np.array_equal(from_file.letters, from_fasta.letters)
    by_file = prepare([str(path)], str(tmp_path / "three"), records=BY_FILE)
    assert set(by_file.contigs["genome"]) == {file.split(".")[0]}


def test_a_store_of_version_0_1_keeps_loading(fasta: list[str], output: str) -> None:
    """Its store.json had the key "packing", and it counts as made from the same content with the same options."""
    prepare(fasta, output, storage="2bit")
    path = Path(output) / "store.json"
    facts = json.loads(path.read_text())
    facts = {"packing" if key == "storage" else key: value for key, value in facts.items()}
    path.write_text(old := json.dumps(facts, indent=2) + "\n")
    assert "storage" not in old
    store = GenomeStore(output)
    assert store.info["storage"] == "2bit" and store.letters.tobytes() == b"ACgtNRYACGTTTT"
    assert prepare(fasta, output, storage="2bit").contigs.equals(store.contigs) and path.read_text() == old
    with pytest.raises(InputError, match=r"\(storage differ\)"):
        prepare(fasta, output)


def test_old_arguments_of_prepare_keep_working(fasta: list[str], output: str) -> None:
    with pytest.warns(FutureWarning) as caught:
        store = prepare(fasta, output, packing="2bit", genome_by="file", min_length=2)
    assert store.info["storage"] == "2bit" and set(store.contigs["genome"]) == {"one.v1", "two"}
    assert store.info["options"]["min_length"] == 2
    new = [str(warning.message).split("'")[3] for warning in caught]
    assert new == ["storage", "records.genome_by", "records.min_length"]


def test_a_storage_of_another_name_is_refused(fasta: list[str], output: str) -> None:
    with pytest.raises(InputError, match="storage must be '8bit' or '2bit', not '4bit'"):
        prepare(fasta, output, storage="4bit")


def test_the_folder_is_open_to_others_as_the_umask_says(fasta: list[str], output: str) -> None:
    prepare(fasta, output)
    mask = os.umask(0o022)
    os.umask(mask)
    assert Path(output).stat().st_mode & 0o777 == 0o777 & ~mask


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(st.text("ACGTNacgtnRY", min_size=1, max_size=50), min_size=1, max_size=12))
def test_every_contig_comes_back_whole(tmp_path: Path, sequences: list[str]) -> None:
    path = tmp_path / "law.fa"
    path.write_text("".join(f">s{i}\n{sequence}\n" for i, sequence in enumerate(sequences)))
    store = prepare([str(path)], str(tmp_path / "law"), overwrite=True)
    windows = [store.window(i, 0, length) for i, length in enumerate(store.contigs["length"])]
    assert [window.tobytes().decode() for window in windows] == sequences


def test_a_genome_column_keeps_the_segments_of_a_genome_together(tmp_path) -> None:
    rows = [(f"c{number}", f"G{number // 3}") for number in range(12)]
    fasta, table = tmp_path / "g.fa", tmp_path / "g.tsv"
    fasta.write_text("".join(f">{name}\nACGTACGTACGT\n" for name, _ in rows))
    table.write_text("accession\tgenome\n" + "".join(f"{name}\t{genome}\n" for name, genome in rows))
    store = prepare([str(fasta)], str(tmp_path / "store"), str(table), split=[0.5, 0.25, 0.25])
    assert prepare([str(fasta)], str(tmp_path / "store"), str(table), split=(0.5, 0.25, 0.25)).info == store.info
    assert store.contigs.groupby("genome")["split"].nunique().max() == 1
    assert set(store.contigs["genome"]) == {"G0", "G1", "G2", "G3"}


def test_a_split_of_another_name_is_refused(tmp_path) -> None:
    fasta, table = tmp_path / "g.fa", tmp_path / "g.tsv"
    fasta.write_text(">c1\nACGT\n")
    table.write_text("accession\tsplit\nc1\tval\n")
    with pytest.raises(InputError, match="'val'; splits are called train, valid, test"):
        prepare([str(fasta)], str(tmp_path / "store"), str(table))


def test_drafts_with_equal_contig_names_become_one_store(tmp_path: Path) -> None:
    files = [tmp_path / "a.fa", tmp_path / "b.fna.gz"]
    for number, path in enumerate(files):
        text = f">contig_1 of {number}\nACGT\n>contig_2\nGGCC\n"
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    paths = [str(path) for path in files]
    with pytest.raises(InputError, match=r"b\.fna\.gz.*a\.fa.*'contig_1 of 1'.*'contig_1 of 0'.*records\.names"):
        prepare(paths, str(tmp_path / "s"), records=RecordRules(genome_by="file"))
    store = prepare(paths, str(tmp_path / "s"), records=RecordRules(genome_by="file", names="file"))
    assert store.contigs["name"].tolist() == ["a:contig_1", "a:contig_2", "b:contig_1", "b:contig_2"]
    assert store.contigs["genome"].tolist() == ["a", "a", "b", "b"]
    numbered = prepare(paths, str(tmp_path / "n"), records=RecordRules(names="numbered"))
    assert numbered.contigs["name"].tolist() == ["1", "2", "3", "4"]


def test_a_file_is_neither_a_list_of_files_nor_a_store(fasta: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"list of files; write \['.*one\.v1\.fa'\]"):
        prepare(fasta[0], str(tmp_path / "s"))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no genome store here"):
        GenomeStore(fasta[0])


def test_the_remedy_for_a_store_json_cut_short_works(fasta: list[str], tmp_path: Path) -> None:
    prepare(fasta, str(tmp_path / "s"))
    (tmp_path / "s" / "store.json").write_text('{"format": 2')
    with pytest.raises(InputError, match="prepare it again with overwrite: true$"):
        prepare(fasta, str(tmp_path / "s"))
    assert prepare(fasta, str(tmp_path / "s"), overwrite=True).total_nt == 14
