"""MEME text is read back by memelite and Biopython, and our own reader refuses what they let through."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hf_genomics import InputError
from hf_genomics.motif_finding.meme import MemeMotif, meme_text, read_meme

BACKGROUND = np.array([0.3, 0.2, 0.2, 0.3])
GOOD = """MEME version 4

ALPHABET= ACGT

MOTIF one first
letter-probability matrix: alength= 4 w= 2 nsites= 17 E= 1e-5
0.1 0.2 0.3 0.4
1 0 0 0
URL http://example.org

MOTIF two
letter-probability matrix: alength= 4 w= 1
 0.25 0.25 0.25 0.25
"""


def motifs_of(count: int, seed: int) -> list[MemeMotif]:
    random = np.random.default_rng(seed)
    return [
        MemeMotif(f"m{row}", random.dirichlet([0.3] * 4, int(random.integers(4, 20))), 10 + row, 10.0**-row)
        for row in range(count)
    ]


def test_memelite_and_biopython_read_what_is_written(tmp_path):
    memelite = pytest.importorskip("memelite")
    bio = pytest.importorskip("Bio.motifs")
    written = motifs_of(30, 0)
    text = meme_text(written, BACKGROUND)
    (tmp_path / "m.meme").write_text(text)
    by_memelite = memelite.io.read_meme(str(tmp_path / "m.meme"))
    by_biopython = bio.parse(io.StringIO(text), "minimal")
    assert list(by_memelite) == [one.name for one in by_biopython] == [one.name for one in written]
    for mine, theirs in zip(written, by_biopython, strict=True):
        assert np.asarray(by_memelite[mine.name]).T == pytest.approx(mine.matrix, abs=1e-6)
        counts = np.array([theirs.counts[letter] for letter in "ACGT"]).T
        assert counts == pytest.approx(mine.matrix * mine.sites, abs=0.5001)  # Biopython rounds to whole sites
        assert theirs.num_occurrences == mine.sites and theirs.evalue == pytest.approx(mine.significance)
    assert [by_biopython.background[letter] for letter in "ACGT"] == pytest.approx(BACKGROUND)


@given(st.integers(0, 5), st.integers(0, 50))
@settings(deadline=None, max_examples=20)
def test_our_own_reader_returns_what_was_written(tmp_path_factory, count, seed):
    path, written = tmp_path_factory.mktemp("meme") / "m.meme", motifs_of(count, seed)
    path.write_text(meme_text(written, BACKGROUND))
    if not count:
        with pytest.raises(InputError, match="no motif"):
            read_meme(path)
        return
    for mine, found in zip(written, read_meme(path), strict=True):
        assert (found.name, found.sites) == (mine.name, mine.sites)
        assert found.matrix == pytest.approx(mine.matrix, abs=2e-6)


def test_names_sizes_and_lines_of_other_programs_are_understood(tmp_path):
    (tmp_path / "m.meme").write_text(GOOD.replace("ACGT", '"DNA" DNA-LIKE\nA "Adenine" CC0000 ~ T\nEND ALPHABET', 1))
    one, two = read_meme(tmp_path / "m.meme")
    assert (one.name, one.other_name, one.sites, one.significance) == ("one", "first", 17, 1e-5)
    assert one.matrix.tolist() == [[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0]] and two.matrix.tolist() == [[0.25] * 4]


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        pytest.param(GOOD, ">r\nACGT\n", ["'>r'", "MEME version"], id="fasta"),
        pytest.param(GOOD, "", ["MEME version"], id="empty"),
        pytest.param(GOOD[GOOD.index("MOTIF one") :], "", ["no motif"], id="no_motif"),
        pytest.param(" 0.25 0.25 0.25 0.25\n", "", ["line 12", "two", "0 rows", "w= 1"], id="no_rows"),
        pytest.param("1 0 0 0\n", "", ["line 6", "one", "1 rows", "w= 2"], id="row_missing"),
        pytest.param(GOOD[GOOD.rindex("letter") :], "", ["line 11", "two", "cut off"], id="no_matrix"),
        pytest.param("0.4\n", "0.9\n", ["line 7", "one", "1.5"], id="row_not_1"),
        pytest.param("0.1 0.2 0.3 0.4", "10 20 30 40", ["line 7", "one", "10"], id="counts"),
        pytest.param("0.1 0.2 0.3 0.4", "-0.1 0.4 0.3 0.4", ["line 7", "-0.1"], id="negative"),
        pytest.param("0.1 0.2 0.3 0.4", "0.1 0.2 0.3 x", ["line 7", "'x'"], id="not_a_number"),
        pytest.param("0.1 0.2 0.3 0.4", "nan 0.2 0.3 0.5", ["line 7", "'nan'"], id="nan"),
        pytest.param("0.1 0.2 0.3 0.4", "0.2 0.3 0.5", ["line 7", "has 3"], id="three_columns"),
        pytest.param("MOTIF two", "MOTIF one", ["line 11", "one", "line 5"], id="name_twice"),
        pytest.param("MOTIF two", "MOTIF", ["line 11", "name"], id="no_name"),
        pytest.param("ALPHABET= ACGT", "ALPHABET= ACDEFGHIKLMNPQRSTVWY", ["line 3", "ACDEF"], id="protein"),
        pytest.param("ALPHABET= ACGT", "ALPHABET= ACGU", ["line 3", "ACGU"], id="rna"),
        pytest.param("alength= 4 w= 2", "alength= 20 w= 2", ["line 6", "alength= 20"], id="alength"),
    ],
)
def test_a_damaged_file_is_refused_with_its_motif_and_line(tmp_path, old, new, named):
    assert old in GOOD
    (tmp_path / "m.meme").write_text(GOOD.replace(old, new))
    with pytest.raises(InputError) as error:
        read_meme(tmp_path / "m.meme")
    assert [word for word in ["m.meme", *named] if word not in str(error.value)] == [], str(error.value)


def test_the_full_output_of_meme_is_read(tmp_path):
    rule, stars = "-" * 80, "*" * 80
    (tmp_path / "meme.txt").write_text(
        f"""{stars}
MEME - Motif discovery tool
{stars}
MEME version 5.5.5 (Release date: Thu Sep 14 08:48:04 2023 +1000)

ALPHABET= ACGT
{stars}
MOTIF GA MEME-1\twidth =   2  sites =   9  llr = 12  E-value = 1.2e-004
{stars}
{rule}
\tMotif GA MEME-1 position-specific scoring matrix
{rule}
log-odds matrix: alength= 4 w= 2 n= 100 bayes= 7 E= 1.2e-004
  -982   -982    199   -982
   199   -982   -982   -982
{rule}
letter-probability matrix: alength= 4 w= 2 nsites= 9 E= 1.2e-004
 0.000000  0.000000  1.000000  0.000000
 1.000000  0.000000  0.000000  0.000000
{rule}
"""
    )
    [motif] = read_meme(tmp_path / "meme.txt")
    assert (motif.name, motif.other_name, motif.sites, motif.significance) == ("GA", "MEME-1", 9, 1.2e-4)
    assert motif.matrix.tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]


def test_a_byte_order_mark_and_lines_of_windows_are_read_and_an_old_version_is_refused(tmp_path):
    path = tmp_path / "m.meme"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert [motif.name for motif in read_meme(path)] == ["one", "two"]
    path.write_text(GOOD.replace("version 4", "version 3"))
    with pytest.raises(InputError, match="MEME version 3"):
        read_meme(path)
