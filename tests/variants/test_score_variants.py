"""The verb: VCF in and VCF out byte for byte, tables, regions and pairs; it streams, resumes and refuses."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import cyvcf2
import numpy as np
import pandas as pd
import pysam
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_files import dna
from tiny_variants import HEADER, classifier, masked_model, opposite_vcf, save, write_fasta, write_vcf

import hf_genomics as hg
from hf_genomics.sequence import reverse_complement
from hf_genomics.variants import score_variants as module

GENOME = dna(300)
FIELDS = re.compile(rb"(\t|;)HFG_[^\t\r\n]*")  # our fields are the last ones of the column
CORPUS = (
    b"##fileformat=VCFv4.2\n##source=caf\xe9\n"
    b'##ALT=<ID=DEL,Description="Deletion">\n'
    b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts 1\ts2\n"
)


def ref(position, width=1):
    """Letters of the genome at a position, 1-based."""
    return GENOME[position - 1 : position - 1 + width]


def other(position, change=1):
    """Another letter than the genome's at a position."""
    return "ACGT"[("ACGT".index(ref(position)) + change) % 4]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folders of two masked-token models and a classifier, and a genome."""
    home = tmp_path_factory.mktemp("variants")
    return {
        "m31": save(masked_model(3, 1), home / "m31"),
        "m33": save(masked_model(3, 3), home / "m33"),
        "tuned": save(classifier(), home / "tuned"),
        "fasta": write_fasta(home / "g.fa", c=GENOME, N=dna(50, 9) + "NNNN" + dna(50, 8)),
    }


def run(places, output, model="m31", **options):
    """Score variants and return the table, or for a VCF file its bytes."""
    if options.get("pairs") is None:
        options.setdefault("fasta", places["fasta"])
    result = hg.score_variants(places[model], str(output), **options)
    if str(output).endswith(".tsv"):
        table = pd.read_csv(output, sep="\t", keep_default_na=False)
        scores = [name for name in table if str(name).startswith(("llr", "pll"))]
        return table.assign(**table[scores].apply(pd.to_numeric))
    return pd.read_parquet(output) if str(output).endswith(".parquet") else result


def record(position, alt, info=".", rest="", quality="29.50", ending="\n"):
    text = f"c\t{position}\trs{position}\t{ref(position)}\t{alt}\t{quality}\tq10;s50\t{info}{rest}{ending}"
    return text.encode()


RECORDS = [
    record(20, other(20)),
    record(21, other(21).lower(), "DP=3;NOVEL=caf\xe9,2;FLAG"),
    record(22, "<DEL>", "SVTYPE=DEL"),
    record(23, f"{other(23)},*,<NON_REF>,{ref(23)}TT", "AC=1,2,3,4"),
    record(24, "."),
    record(25, f"{ref(25)}[c:90[", "SVTYPE=BND;MATEID=x"),
    record(26, other(26), "A=b=c;;X", quality="1e-5"),
    record(300, other(300)),
    record(1, other(1)),
]


@settings(max_examples=10)
@given(st.lists(st.sampled_from(RECORDS), max_size=6), st.booleans(), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_without_our_fields_the_output_is_the_input(places, tmp_path_factory, records, samples, ending, last):
    folder = tmp_path_factory.mktemp("round")
    rest = b"\tGT:GL\t0|1:-1,.\t./." if samples else b""
    head = CORPUS if samples else CORPUS.replace(b"\tFORMAT\ts 1\ts2", b"")
    text = head + b"".join(one[:-1] + rest + b"\n" for one in records)
    text = text.replace(b"\n", ending.encode())
    text = text if last or not records else text.removesuffix(ending.encode())
    (folder / "in.vcf").write_bytes(text)
    run(places, folder / "out.vcf", vcf=str(folder / "in.vcf"))
    lines = (folder / "out.vcf").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith((b"##INFO=<ID=HFG_", b"##hf_genomics"))]
    assert len(lines) - len(kept) == 8
    stripped = [FIELDS.sub(lambda match: b"" if match[1] == b";" else b"\t.", line) for line in kept]
    assert b"".join(stripped) == text


def test_other_readers_read_the_scores(places, tmp_path, capfd):
    rows = [f"c 20 . {ref(20)} {other(20)},{other(20, 2)} . . .", f"c 40 . {ref(40)} {ref(40)}TG . . DP=3"]
    source = write_vcf(tmp_path / "in.vcf", *rows)
    Path(source).write_text(
        Path(source)
        .read_text()
        .replace("#CHROM", '##contig=<ID=c>\n##INFO=<ID=DP,Number=1,Type=Integer,Description="d">\n#CHROM')
    )
    table = run(places, tmp_path / "out.tsv", vcf=source)
    run(places, tmp_path / "out.vcf.gz", vcf=source)
    with pysam.VariantFile(str(tmp_path / "out.vcf.gz")) as file:
        first, second = file.fetch("c", 0, 300)
    np.testing.assert_allclose(first.info["HFG_LLR"], table["llr"][:2], rtol=1e-5)
    assert second.info["HFG_FLAG"] == ("indel",) and second.info["DP"] == 3
    first = next(iter(cyvcf2.VCF(str(tmp_path / "out.vcf.gz"))))
    np.testing.assert_allclose(first.INFO["HFG_LLR_FWD"], table["llr_fwd"][:2], rtol=1e-5)
    assert (tmp_path / "out.vcf.gz.tbi").exists()
    assert "::" not in (error := capfd.readouterr().err), error  # htslib's warnings are "[W::function] ..."


def test_an_unsorted_file_is_compressed_without_an_index(places, tmp_path, caplog):
    rows = [f"c {place} . {ref(place)} {other(place)} . . ." for place in (40, 20)]
    (tmp_path / "out.vcf.gz.tbi").write_text("of an earlier file")
    with caplog.at_level("INFO", "hf_genomics"):
        run(places, tmp_path / "out.vcf.gz", vcf=write_vcf(tmp_path / "in.vcf", *rows))
    assert not (tmp_path / "out.vcf.gz.tbi").exists() and "not sorted" in caplog.text
    assert gzip.decompress((tmp_path / "out.vcf.gz").read_bytes()).count(b"HFG_LLR=") == 2


def test_a_table_has_a_row_for_every_allele_in_the_order_of_the_file(places, tmp_path):
    text = CORPUS.replace(b"\tFORMAT\ts 1\ts2", b"") + b"".join(RECORDS)
    (tmp_path / "in.vcf").write_bytes(text)
    table = run(places, tmp_path / "out.parquet", vcf=str(tmp_path / "in.vcf"))
    assert list(table)[:9] == ["chrom", "pos", "id", "ref", "alt", "variant_id", "llr", "llr_fwd", "llr_rev"]
    assert list(table)[-2:] == ["ref_ok", "flag"]
    assert table["pos"].tolist() == [20, 21, 22, 23, 23, 23, 23, 24, 25, 26, 300, 1]
    flags = ["", "", "symbolic", "", "star", "symbolic", "indel", "no_alt", "breakend", "", "", ""]
    assert table["flag"].tolist() == flags and table["ref_ok"].all()
    scored = table["flag"] == ""
    assert table["llr"].notna().tolist() == scored.tolist()
    np.testing.assert_allclose(table["llr"], table[["llr_fwd", "llr_rev"]].mean(axis=1), atol=1e-5)
    assert table["pll_delta"].notna().tolist() == (table["flag"] == "indel").tolist()


@pytest.mark.parametrize("model", ["m31", "m33"])
def test_a_reverse_complemented_genome_and_file_have_the_same_scores(places, tmp_path, model):
    rows = [(place, ref(place), other(place)) for place in (1, 2, 60, 61, 62, 150, 299, 300)]
    rows += [(place, ref(place, 2), other(place) + other(place + 1, 2)) for place in (30, 31, 32, 200)]
    # Deletions and insertions between two letters that stay, so that both strands have an anchor.
    rows += [(place, ref(place, 4), ref(place) + ref(place + 3)) for place in (80, 85, 120)]
    rows += [(place, ref(place, 2), ref(place) + "GATTA" + ref(place + 1)) for place in (90, 95, 140)]
    rows += [(250, ref(250, 6), "".join(other(place) for place in range(250, 256)))]
    one = write_vcf(tmp_path / "one.vcf", *(f"c {p} . {r} {a} . . ." for p, r, a in rows))
    mirrored = write_fasta(tmp_path / "rc.fa", c=reverse_complement(GENOME))
    two = write_vcf(tmp_path / "two.vcf", *(f"c {p} . {r} {a} . . ." for p, r, a in opposite_vcf(rows, 300)))
    first = run(places, tmp_path / "one.parquet", model, vcf=one)
    second = run(places, tmp_path / "two.parquet", model, vcf=two, fasta=mirrored)
    np.testing.assert_allclose(first["llr"], second["llr"], atol=1e-5)
    np.testing.assert_allclose(first["llr_fwd"], second["llr_rev"], atol=1e-5)
    np.testing.assert_allclose(first["pll_delta"], second["pll_delta"], atol=1e-5)
    assert first["flag"].tolist() == [""] * 8 + ["mnv"] * 4 + ["indel"] * 6 + ["mnv_long"]
    assert first[["llr", "pll_delta"]].notna().any(axis=1).all()


def test_chunks_batches_and_a_soft_masked_genome_change_nothing(places, tmp_path, monkeypatch):
    rows = [f"c {place} . {ref(place)} {other(place)} . . ." for place in range(1, 300, 7)]
    source = write_vcf(tmp_path / "in.vcf", *rows)
    expected = run(places, tmp_path / "a.parquet", vcf=source)
    monkeypatch.setattr(module, "_RECORDS_AT_ONCE", 5)
    lower = write_fasta(tmp_path / "lower.fa", c=GENOME.lower())
    found = run(places, tmp_path / "b.parquet", vcf=source, batch_size=3, fasta=lower)
    np.testing.assert_allclose(expected["llr"], found["llr"], atol=1e-5)


def test_an_interrupted_run_is_continued(places, tmp_path, monkeypatch):
    rows = [f"c {place} . {ref(place)} {other(place)} . . ." for place in range(1, 300, 9)]
    source = write_vcf(tmp_path / "in.vcf", *rows)
    monkeypatch.setattr(module, "_RECORDS_AT_ONCE", 4)
    whole = run(places, tmp_path / "whole.vcf", vcf=source)
    calls = []

    def stop(self, records, *rest):
        calls.append(len(records))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score(self, records, *rest)

    score = module.Scorer.score
    monkeypatch.setattr(module.Scorer, "score", stop)
    with pytest.raises(KeyboardInterrupt):
        run(places, tmp_path / "out.vcf", vcf=source)
    assert not (tmp_path / "out.vcf").exists() and (tmp_path / ".out.vcf.partial").is_dir()
    with pytest.raises(hg.InputError, match="options"):
        run(places, tmp_path / "out.vcf", vcf=source, resume=True, estimator="marginal")
    assert run(places, tmp_path / "out.vcf", vcf=source, resume=True) == whole
    assert (tmp_path / "out.vcf").read_bytes() == (tmp_path / "whole.vcf").read_bytes()
    assert not (tmp_path / ".out.vcf.partial").exists() and sum(calls[4:]) == len(rows) - 12


def test_a_second_run_replaces_the_fields_only_on_request(places, tmp_path):
    source = write_vcf(tmp_path / "in.vcf", f"c 20 . {ref(20)} {other(20)} . . DP=1")
    run(places, tmp_path / "once.vcf", vcf=source)
    with pytest.raises(hg.InputError, match="HFG_LLR"):
        run(places, tmp_path / "twice.vcf", vcf=str(tmp_path / "once.vcf"))
    run(places, tmp_path / "twice.vcf", vcf=str(tmp_path / "once.vcf"), overwrite_fields=True)
    assert (tmp_path / "twice.vcf").read_bytes() == (tmp_path / "once.vcf").read_bytes()


def test_a_reference_that_differs_stops_the_run_or_is_flagged(places, tmp_path):
    rows = [f"c 20 . {ref(20)} {other(20)} . . .", f"c 21 . {other(21)} {ref(21)} . . .", "c 301 . A T . . ."]
    source = write_vcf(tmp_path / "in.vcf", *rows)
    with pytest.raises(hg.InputError, match="line 4"):
        run(places, tmp_path / "out.tsv", vcf=source)
    assert not (tmp_path / "out.tsv").exists() and not list(tmp_path.glob(".*"))
    table = run(places, tmp_path / "out.tsv", vcf=source, on_ref_mismatch="skip")
    assert table["flag"].tolist() == ["", "ref_mismatch", "ref_mismatch"]
    assert table["ref_ok"].astype(str).str.lower().tolist() == ["true", "false", "false"]


def test_unknown_letters_of_the_genome_are_no_reference(places, tmp_path):
    contig = dna(50, 9)
    rows = ["N 51 . N A . . .", "N 52 . A C . . .", f"N 50 . {contig[49]} {'A' if contig[49] != 'A' else 'C'} . . ."]
    table = run(places, tmp_path / "out.tsv", vcf=write_vcf(tmp_path / "in.vcf", *rows))
    assert table["flag"].tolist()[:2] == ["ambiguous", "ref_n"]
    assert not np.isnan(table["llr"][2])  # tokens that end before the unknown letters still show the site


def test_a_region_has_all_substitutions_and_a_picture(places, tmp_path):
    table = run(places, tmp_path / "r.tsv", region="c:101-112", picture=str(tmp_path / "r.svg"))
    assert len(table) == 36 and table["pos"].tolist() == sorted(table["pos"])
    assert (tmp_path / "r.svg").read_text().startswith("<?xml")
    rows = [f"c {row.pos} . {row.ref} {row.alt} . . ." for row in table.itertuples()]
    same = run(places, tmp_path / "v.tsv", vcf=write_vcf(tmp_path / "in.vcf", *rows))
    np.testing.assert_allclose(table["llr"], same["llr"], atol=1e-5)
    run(places, tmp_path / "r.vcf.gz", region="c:101-112")
    with pysam.VariantFile(str(tmp_path / "r.vcf.gz")) as file:
        assert [len(one.alts) for one in file.fetch("c", 100, 112)] == [3] * 12


def test_pairs_are_scored_as_the_sum_of_their_substitutions(places, tmp_path):
    sequence = GENOME[:60]
    one, two = sequence[:20] + other(21) + sequence[21:], sequence[:40] + other(41) + sequence[41:]
    both = one[:40] + two[40:]
    shorter = sequence[:30] + sequence[33:]
    rows = [(sequence, alt) for alt in (one, two, both, sequence, shorter)]
    pd.DataFrame(rows, columns=["sequence", "alt_sequence"]).to_csv(tmp_path / "p.csv", index=False)
    table = run(places, tmp_path / "p.tsv", pairs=str(tmp_path / "p.csv"))
    assert table["flag"].tolist() == ["", "", "several", "no_change", "indel"]
    assert table["llr"][2] == pytest.approx(table["llr"][0] + table["llr"][1], abs=1e-5)
    assert not np.isnan(table["pll_delta"][4]) and table["chrom"].tolist()[0] == "row_1"
    vcf = write_vcf(tmp_path / "in.vcf", f"s 21 . {ref(21)} {other(21)} . . .")
    fasta = write_fasta(tmp_path / "s.fa", s=sequence)
    assert run(places, tmp_path / "v.tsv", vcf=vcf, fasta=fasta)["llr"][0] == pytest.approx(table["llr"][0], abs=1e-5)


def test_a_model_with_a_missing_weight_or_one_that_is_no_number_is_refused(tmp_path):
    model, tokenizer = masked_model.__wrapped__(3, 1)
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    kept = {name: value for name, value in tensors.items() if "predictions.transform" not in name}
    folder = save((model, tokenizer), tmp_path / "cut")
    model.save_pretrained(folder, state_dict=kept)
    with pytest.raises(hg.InputError, match="transform"):
        module.load_scorer(folder)
    torch.nn.init.constant_(model.cls.predictions.transform.dense.bias, float("nan"))
    with pytest.raises(hg.InputError, match="NaN"):
        module.load_scorer(save((model, tokenizer), tmp_path / "nan"))


def test_a_model_saved_in_bfloat16_is_scored_in_float32(tmp_path):
    model, tokenizer = masked_model.__wrapped__(3, 1)
    found, _ = module.load_scorer(save((model.bfloat16(), tokenizer), tmp_path / "half"))
    assert {weight.dtype for weight in found.parameters()} == {torch.float32}


def test_a_fine_tuned_model_gives_the_logits_of_both_alleles(places, tmp_path):
    source = write_vcf(
        tmp_path / "in.vcf", f"c 20 . {ref(20)} {other(20)} . . .", f"c 99 . {ref(99)} {ref(99)}TG . . ."
    )
    table = pd.read_csv(
        run(places, tmp_path / "o.tsv", "tuned", vcf=source) is not None and tmp_path / "o.tsv", sep="\t"
    )
    for name in ("a b", "a-b", "c"):
        delta = table[f"alt_logit_{name}"] - table[f"ref_logit_{name}"]
        np.testing.assert_allclose(table[f"delta_logit_{name}"], delta, atol=1e-5)
    run(places, tmp_path / "o.vcf.gz", "tuned", vcf=source)
    with pysam.VariantFile(str(tmp_path / "o.vcf.gz")) as file:
        assert {"HFG_DELTA_LOGIT_A_B", "HFG_DELTA_LOGIT_A_B_", "HFG_DELTA_LOGIT_C"} <= set(file.header.info)


def test_a_fine_tuned_model_scores_no_place_that_its_tokens_do_not_show(places, tmp_path):
    genome = write_fasta(tmp_path / "g.fa", short="AC", unknown="N" * 40 + "T" + "N" * 40 + dna(40), end="ACG")
    rows = ["short 1 . A C . . .", "unknown 41 . T A . . .", "end 1 . A C . . ."]
    source = write_vcf(tmp_path / "in.vcf", *rows)
    summary = run(places, tmp_path / "o.vcf", "tuned", vcf=source, fasta=genome)
    assert (summary["alleles_scored"], summary["not_scored"]) == (1, {"ref_n": 2})


def test_a_picture_of_a_fine_tuned_model_names_the_logit(places, tmp_path):
    run(places, tmp_path / "o.vcf", "tuned", region="c:10-12", picture=str(tmp_path / "x.svg"))
    text = (tmp_path / "x.svg").read_text()
    assert "logit of c" in text and "LLR" not in text


def test_effects_of_a_fine_tuned_model_are_refused(places, tmp_path):
    with pytest.raises(hg.InputError, match="--effects"):
        run(places, tmp_path / "o.vcf", "tuned", region="c:10-12", effects=["embedding"])
    assert not (tmp_path / "o.vcf").exists()


def test_the_names_of_classes_and_of_a_folder_are_in_the_header_as_they_are(places, tmp_path, monkeypatch):
    model, tokenizer = classifier.__wrapped__()
    model.config.id2label = {0: "{x}", 1: "a_b", 2: "c"}
    monkeypatch.chdir(save((model, tokenizer), tmp_path / "braces"))
    hg.score_variants(".", str(tmp_path / "o.vcf"), fasta=places["fasta"], region="c:10-10")
    text = (tmp_path / "o.vcf").read_text()
    assert 'Description="ref logit {x}"' in text and 'Description="delta logit a_b"' in text
    assert "<name=braces," in text


@pytest.mark.slow
def test_importing_the_package_and_pairs_need_no_pysam(places, repo_root):
    code = "import sys, hf_genomics, hf_genomics.variants.score_variants; print('pysam' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr


def test_header_says_what_was_run_without_paths(places, tmp_path):
    source = write_vcf(tmp_path / "in.vcf", f"c 20 . {ref(20)} {other(20)} . . .")
    run(places, tmp_path / "out.vcf", vcf=source, sites_per_forward="auto")
    text = (tmp_path / "out.vcf").read_text()
    assert str(tmp_path) not in text and "approximate" in text and "name=m31" in text
    assert text.index("##INFO=<ID=HFG_LLR,Number=A,Type=Float") < text.index("#CHROM")
    assert HEADER.splitlines()[0] == text.splitlines()[0]


def test_auto_begins_goes_on_and_accepts_what_is_finished(places, tmp_path, monkeypatch):
    options = {"fasta": places["fasta"], "region": "c:20-22"}
    output, picture = tmp_path / "out.tsv", tmp_path / "a.png"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_RECORDS_AT_ONCE", 1)
        patch.setattr(module.GrowingScores, "finish", _interrupt)
        hg.score_variants(places["m31"], str(output), resume="auto", **options)
    counts = hg.score_variants(places["m31"], str(output), resume="auto", **options)
    before = output.read_bytes()
    assert hg.score_variants(places["m31"], str(output), resume="auto", **options) == counts
    assert output.read_bytes() == before
    with pytest.raises(hg.InputError, match=r"out\.tsv: was written with model"):
        hg.score_variants(places["m33"], str(output), resume="auto", **options)
    for _ in range(2):
        assert hg.score_variants(places["m31"], str(output), resume="auto", picture=str(picture), **options) == counts
        assert picture.is_file()
    hg.score_variants(places["m31"], str(output), overwrite=True, **options)
    with pytest.raises(hg.InputError, match="nothing says which run"):
        hg.score_variants(places["m31"], str(output), resume="auto", **options)


def _interrupt(self, **options):
    raise KeyboardInterrupt
