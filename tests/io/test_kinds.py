"""The kind of a file: told by its content, one verdict for all readers, and a remedy for every wrong kind."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hf_genomics.downloads.accessions import read_accessions
from hf_genomics.errors import InputError, private_run
from hf_genomics.io.kinds import START_BYTES, kind_of_start, require_sequences, require_table
from hf_genomics.io.text_tables import column_names, kind_of
from hf_genomics.labelled.tables import read_labelled
from hf_genomics.sequence_files.fasta import read_records

TABLE = "sequence,label\nACGT,a\nACGG,b\n"


def zipped(*names: str) -> bytes:
    """Return a zip archive with empty files of these names."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return file.getvalue()


def of_pandas(method: str, **options: object) -> bytes:
    """Return a table that pandas writes."""
    file = io.BytesIO()
    getattr(pd.DataFrame({"sequence": ["ACGT"], "label": ["a"]}), method)(file, **options)
    return file.getvalue()


READ = {
    "FASTA": (b">a\nACGT\n", "sequences"),
    "FASTA after blank lines": (b"\n \n>a\nACGT\n", "sequences"),
    "FASTA after comments": (b"# one, two\n>a\nACGT\n", "sequences"),
    "FASTA with lines of Windows": (b">a\r\nACGT\r\n", "sequences"),
    "FASTQ": (b"@a\nACGT\n+\nIIII\n", "sequences"),
    "FASTQ with a name like a header of SAM": (b"@HD1\nACGT\n+\nIIII\n", "sequences"),
    "GenBank": (b"LOCUS       a 4 bp DNA\n", "sequences"),
    "2bit": (b"\x1a\x41\x27\x43", "sequences"),
    "CSV": (TABLE.encode(), "table"),
    "TSV": (TABLE.replace(",", "\t").encode(), "table"),
    "semicolons": (TABLE.replace(",", ";").encode(), "table"),
    "CSV of pandas with its index": (b",sequence,label\n0,ACGT,a\n", "table"),
    "semicolons of pandas with its index": (b";sequence;label\n0;ACGT;a\n", "table"),
    "a header that begins with #": (b"#chrom\tstart\tend\tsequence\nchr1\t1\t5\tACGT\n", "table"),
    "sep line of Excel": (b"sep=;\nsequence;label\nACGT;a\n", "table"),
    "UTF-8 with a byte order mark": (TABLE.encode("utf-8-sig"), "table"),
    "UTF-16": (TABLE.encode("utf-16"), "table"),
    "UTF-16, big-endian": (b"\xfe\xff" + TABLE.encode("utf-16-be"), "table"),
    "UTF-32": (TABLE.encode("utf-32"), "table"),
    "UTF-16 without a byte order mark": (TABLE.encode("utf-16-le"), "table"),
    "UTF-16, big-endian, without a byte order mark": (TABLE.encode("utf-16-be"), "table"),
    "FASTA with a byte order mark": (b"\xef\xbb\xbf>a\nACGT\n", "sequences"),
    "FASTA in UTF-16": (">a\nACGT\n".encode("utf-16"), "sequences"),
    "FASTA in UTF-16 without a byte order mark": (">a\nACGT\n".encode("utf-16-le"), "sequences"),
    "xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "excel"),
    "Parquet": (of_pandas("to_parquet"), "parquet"),
    "one column": (b"sequence\nACGT\n", "table"),
    "no header, and two labels": (b"ACGTACGTAC\t1\t0\nACGTACGTAA\t0\t1\n", "table"),
    "a header that begins as a line of a genome browser": (b"Track id,sequence\n7,ACGT\n", "table"),
}
WRONG = {
    "empty": (b"", "empty"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xls"),
    "ods": (b"PK\x03\x04" + b"\0" * 26 + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet", "ods"),
    "docx": (zipped("[Content_Types].xml", "word/document.xml"), "Word"),
    "zip": (zipped("x.fa"), "zip"),
    "npz": (zipped("a.npy"), "NumPy"),
    "tar": (b"x.fa".ljust(257, b"\0") + b"ustar\0", "tar"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\x04", "7z"),
    "bzip2": (b"BZh91AY&SY", "bzip2"),
    "xz": (b"\xfd7zXZ\0", "xz"),
    "zstandard": (b"\x28\xb5\x2f\xfd\0", "zstandard"),
    "gzip inside gzip": (gzip.compress(b">a\nACGT\n"), "gzip inside gzip"),
    "BAM": (b"BAM\x01", "BAM"),
    "CRAM": (b"CRAM\x03\x00", "CRAM"),
    "SAM": (b"@HD\tVN:1.6\n@SQ\tSN:chr1\tLN:100\n", "SAM"),
    "VCF": (b"##fileformat=VCFv4.2\n#CHROM\tPOS\n", "VCF"),
    "GFF": (b"##gff-version 3\nchr1\t.\tgene\t1\t9\t.\t+\t.\tID=x\n", "GFF"),
    "GTF": (b'chr1\thavana\tgene\t1\t9\t.\t+\t.\tgene_id "x"\n', "GFF"),
    "BED": (b"chr1\t100\t200\tpeak\n", "BED"),
    "bedGraph": (b'track type=bedGraph name="x"\nchr1\t1\t2\t0.5\n', "BED"),
    "track line of BED": (b"track name=x\nchr1\t1\t2\n", "BED"),
    "browser line of BED": (b"browser position chr7:1-9\nchr7\t1\t2\n", "BED"),
    "BED of a contig named by letters": (b"MTDNA\t1\t200\n", "BED"),
    "EMBL": (b"ID   X56734; SV 1; linear; mRNA; STD; PLN; 1859 BP.\n", "EMBL"),
    "CLUSTAL": (b"CLUSTAL W (1.82) multiple sequence alignment\n", "alignment"),
    "PHYLIP": (b" 5 42\nTurkey    AAGCTNGGGC\n", "alignment"),
    "HTML": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "HTML"),
    "XML": (b'<?xml version="1.0"?>\n<ERROR>no such id</ERROR>', "HTML or XML"),
    "JSON": (b'{"sequence": "ACGT", "label": 1}\n', "JSON"),
    "JSON of records": (of_pandas("to_json", orient="records"), "JSON"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
    "image": (b"\x89PNG\r\n\x1a\n", "image"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "NumPy": (b"\x93NUMPY\x01\x00", "NumPy"),
    "Feather": (of_pandas("to_feather"), "Feather"),
    "SQLite": (b"SQLite format 3\0", "SQLite"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "LFS"),
    "BED in UTF-16": ("chr1\t100\t200\tpeak\n".encode("utf-16"), "UTF-16"),
    "BED with a byte order mark": (b"\xef\xbb\xbfchr1\t100\t200\tpeak\n", "BED"),
    "binary": (b"\x80\x05\x95\0\0\0\0", "not text"),
}


@pytest.mark.parametrize(("content", "reader"), READ.values(), ids=READ)
def test_a_file_that_is_read_goes_to_its_reader(content: bytes, reader: str, tmp_path: Path) -> None:
    assert kind_of_start(content[:START_BYTES]).reader == reader
    for name, packed in (("x.fa", content), ("x.csv", gzip.compress(content))):  # the name does not count
        (tmp_path / name).write_bytes(packed)
        assert kind_of(tmp_path / name) == reader


@pytest.mark.parametrize(("content", "fact"), WRONG.values(), ids=WRONG)
def test_every_reader_tells_a_wrong_kind_by_its_name(content: bytes, fact: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    readers = (
        lambda: list(read_records(path)),
        lambda: read_labelled(path),
        lambda: column_names(path),
        lambda: read_accessions(path),
        lambda: require_sequences(path, content),
        lambda: require_table(path, content),
    )
    if content[:2] == b"\x1f\x8b":
        path.write_bytes(gzip.compress(content))
    for read in readers:
        if not content and read is readers[3]:
            continue  # an empty list of accessions has a message of its own
        with pytest.raises(InputError) as error:
            read()
        assert str(error.value).startswith(f"{path}: ") and fact in str(error.value) and "; " in str(error.value)


def test_a_table_is_no_sequence_file_and_a_sequence_file_no_table(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(TABLE)
    (tmp_path / "f").write_text(">a\nACGT\n")
    with pytest.raises(InputError, match=r"t: this looks like a table.*'sequence,label'.*FASTA"):
        list(read_records(tmp_path / "t"))
    for read in (column_names, read_accessions):
        with pytest.raises(InputError, match=r"f: this looks like FASTA, not a table"):
            read(tmp_path / "f")


def test_a_table_read_as_sequences_is_told_by_its_first_line_that_is_no_comment() -> None:
    with pytest.raises(InputError, match="'sequence,label'"):
        require_sequences("x", b"# made in May\n" + TABLE.encode())


def test_a_table_of_comments_only_is_told_to_lack_its_header_row() -> None:
    with pytest.raises(InputError, match="x: no header row after the comments"):
        require_table("x", b"# made in May\n\n#chrom\tstart\n")


@pytest.mark.parametrize("name", ["miller-7", "miller 7", "miller-7" * 10])
def test_a_private_run_does_not_show_the_first_row_of_a_table_without_a_header(name: str, tmp_path: Path) -> None:
    content = f"{name},ACGTACGT,1\n"
    (tmp_path / "t").write_text(content)
    with private_run(True):
        for read in (lambda: require_sequences("t", content.encode()), lambda: read_labelled(tmp_path / "t")):
            with pytest.raises(InputError, match="first") as error:
                read()
            assert "miller" not in str(error.value)


@given(st.binary(max_size=300))
def test_any_bytes_have_a_kind_and_both_readers_agree(content: bytes) -> None:
    kind = kind_of_start(content)
    taken = []
    for require in (require_sequences, require_table):
        try:
            taken.append(require("x", content) == kind)
        except InputError as error:
            assert str(error).startswith("x: ")
    assert len(taken) <= 1 and all(taken)
