"""Files of scores appear when they are complete, and say nothing else than the records do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hf_genomics import InputError
from hf_genomics.variants.outputs import (
    GrowingScores,
    ScoredVariant,
    draw_region,
    format_of,
    number,
    plot_variants,
    table_text,
    vcf_text,
)
from hf_genomics.variants.sources import Allele, Record

LINE = "c\t5\t.\tA\tT,<DEL>\t.\t.\tDP=1\n"
RECORD = Record(LINE, "c", 5, ".", "A", (Allele("T", (), None), Allele("<DEL>", (), "symbolic")), None, True)
SCORED = ScoredVariant(RECORD, [{"llr": -1.25}, {}], ["", "symbolic"])


@pytest.mark.parametrize("name", ["a.vcf", "a.vcf.gz", "a.tsv", "a.parquet"])
def test_the_suffix_names_the_format(tmp_path, name):
    assert name.endswith(format_of(str(tmp_path / name)))
    with pytest.raises(InputError, match=r"\.tsv"):
        format_of(str(tmp_path / f"{name}.zip"))


def test_text_has_seven_digits_and_a_sign_for_what_is_missing():
    assert number(-1.23456789, "") == "-1.234568" and number(float("nan"), ".") == "."
    assert table_text([SCORED], ["llr"]) == (
        "c\t5\t.\tA\tT\tc:5:A>T\t-1.25\ttrue\t\nc\t5\t.\tA\t<DEL>\tc:5:A><DEL>\t\ttrue\tsymbolic\n"
    )
    expected = LINE.replace("DP=1", "DP=1;HFG_LLR=-1.25,.;HFG_FLAG=.,symbolic")
    assert vcf_text([SCORED], {"llr": "HFG_LLR"}, plain=False) == expected


def test_nothing_is_left_of_a_wrong_input_and_everything_of_an_interruption(tmp_path):
    target = tmp_path / "a.tsv"
    with pytest.raises(InputError), GrowingScores(target, "tsv", "x\n", {"model": 1}, False) as file:
        file.write("1\n", [SCORED])
        raise InputError("line 2")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), GrowingScores(target, "tsv", "x\n", {"model": 1}, False) as file:
        file.write("1\n", [SCORED])
        file._file.write(b"half a li")
        raise KeyboardInterrupt
    with pytest.raises(InputError, match="model"):
        GrowingScores(target, "tsv", "x\n", {"model": 2}, True)
    with GrowingScores(target, "tsv", "x\n", {"model": 1}, True) as file:
        assert file.num_records == 1 and file.counts == {"": 1, "symbolic": 1}
        file.write("2\n", [SCORED])
        file.finish()
    assert target.read_text() == "x\n1\n2\n" and list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link_and_what_it_leads_to_is_written(tmp_path):
    (tmp_path / "there").mkdir()
    for name, kind, header in (("a.tsv", "tsv", "x\n"), ("a.vcf.gz", "vcf.gz", "##fileformat=VCFv4.2\n#CHROM\tPOS\n")):
        if kind == "vcf.gz":
            pytest.importorskip("pysam")
        link, target = tmp_path / name, tmp_path / "there" / f"old.{kind}"
        target.write_text("old")
        target.chmod(0o640)
        link.symlink_to(target)
        with GrowingScores(link, kind, header, {}, False) as file:
            file.write("" if kind == "vcf.gz" else "1\n", [])
            file.finish()
        assert link.is_symlink() and target.read_bytes()[:3] != b"old" and target.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tsv", "a.vcf.gz", "a.vcf.gz.tbi", "there"]


def test_a_parquet_table_has_types_although_cells_look_like_others(tmp_path):
    header = "chrom\tpos\tid\tref\talt\tvariant_id\tllr\tref_ok\tflag\n"
    with GrowingScores(tmp_path / "a.parquet", "parquet", header, {}, False) as file:
        file.write("1\t5\tNA\tA\tT\t1:5:A>T\t\ttrue\t\n", [SCORED])
        file.finish()
    table = pd.read_parquet(tmp_path / "a.parquet")
    assert table.loc[0, ["chrom", "id", "flag"]].tolist() == ["1", "NA", ""]
    assert np.isnan(table["llr"][0]) and table["pos"][0] == 5 and table["ref_ok"].dtype == bool


def test_a_heat_map_has_a_row_for_every_letter():
    ax = Figure().subplots()
    plot_variants(np.array([[np.nan, 1.0], [-2.0, np.nan], [0, 0], [1, 1]]), "AC", ax, start=10)
    assert [text.get_text() for text in ax.get_yticklabels()] == list("ACGT")
    assert ax.get_xlim() == (10.5, 12.5) and ax.images[0].get_clim() == (-2, 2)


def test_positions_below_a_heat_map_have_grouped_digits(tmp_path):
    draw_region(str(tmp_path / "x.svg"), np.zeros((4, 80)), "ACGT" * 20, "chr1", 4_002_845)
    assert "<!-- 4,002,850 -->" in (tmp_path / "x.svg").read_text()


def test_a_heat_map_names_its_scores_even_if_a_class_looks_like_a_formula(tmp_path):
    draw_region(str(tmp_path / "x.svg"), np.zeros((4, 8)), "ACGTACGT", "chr1", 0, r"logit of $\no$")
    assert r"logit of $\no$" in (tmp_path / "x.svg").read_text()


def test_the_axis_of_a_short_heat_map_shows_whole_positions_only():
    ax = Figure().subplots()
    plot_variants(np.zeros((4, 2)), "AC", ax, start=10)
    assert {11, 12} <= set(ax.get_xticks()) and all(tick == round(tick) for tick in ax.get_xticks())


@pytest.mark.parametrize("name", ['"quoted', "ID with é", "χρ", "a\tb", "a\rb"])
def test_a_name_is_the_same_in_tsv_and_parquet(tmp_path, name):
    scored = SCORED._replace(record=RECORD._replace(id=name))
    header = "\t".join(["chrom", "pos", "id", "ref", "alt", "variant_id", "llr", "ref_ok", "flag"]) + "\n"
    for kind in ("tsv", "parquet"):
        with GrowingScores(tmp_path / f"a.{kind}", kind, header, {}, False) as file:
            file.write(table_text([scored], ["llr"]), [scored])
            file.finish()
    tables = pd.read_parquet(tmp_path / "a.parquet"), pd.read_csv(tmp_path / "a.tsv", sep="\t")
    assert [table["id"].tolist() for table in tables] == [[name] * 2] * 2


def test_a_run_that_was_killed_before_its_first_record_can_be_resumed(tmp_path):
    target = tmp_path / "a.tsv"
    GrowingScores(target, "tsv", "x\n", {"model": 1}, False)._file.close()
    (tmp_path / ".a.tsv.partial" / "progress.json").unlink()
    with GrowingScores(target, "tsv", "x\n", {"model": 1}, True) as file:
        assert file.num_records == 0
        file.write("1\n", [SCORED])
        file.finish()
    assert target.read_text() == "x\n1\n"


@pytest.mark.parametrize("resume", [False, True, "auto"])
def test_a_second_run_with_the_same_output_is_refused_and_the_first_one_loses_nothing(tmp_path, held_elsewhere, resume):
    target = tmp_path / "a.tsv"
    with pytest.raises(KeyboardInterrupt), GrowingScores(target, "tsv", "x\n", {"model": 1}, False) as file:
        file.write("1\n", [SCORED])
        raise KeyboardInterrupt
    files = {path: path.read_bytes() for path in (tmp_path / ".a.tsv.partial").iterdir()}
    with held_elsewhere(tmp_path / ".a.tsv.partial") as pid:
        with pytest.raises(InputError, match=f"process {pid}"):
            GrowingScores(target, "tsv", "y\n", {"model": 1}, resume)
    assert {path: path.read_bytes() for path in (tmp_path / ".a.tsv.partial").iterdir()} == files


@pytest.mark.parametrize(("position", "ending"), [(600_000_000, ".csi"), (60, ".tbi")])
def test_an_index_takes_positions_of_any_size(tmp_path, position, ending):
    pytest.importorskip("pysam")
    header = "##fileformat=VCFv4.2\n##contig=<ID=c>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    for other in (".tbi", ".csi"):
        (tmp_path / f"a.vcf.gz{other}").write_text("of an earlier file")
    with GrowingScores(tmp_path / "a.vcf.gz", "vcf.gz", header, {}, False) as file:
        file.write(f"c\t{position}\t.\tA\tC\t.\t.\t.\n", [])
        file.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.vcf.gz", f"a.vcf.gz{ending}"]
