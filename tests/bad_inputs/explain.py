"""Inputs of `hf-genomics explain`: models, targets, regions, lengths of contigs, genes, tracks and output folders."""

from __future__ import annotations

from pathlib import Path

from .case import Case

RUN = "explain --model TUNED --input OK --output_dir out --figures 0 --steps 2"
DONE = {"remedy": RUN}


def bed(line: str, name: str = "r.bed"):  # noqa: ANN201
    """Write a BED file of two lines: a good one, and this one."""
    return lambda folder: Path(folder, name).write_text(f"r0\t0\t20\n{line}\n", encoding="utf-8")


def folder_of_files(folder: Path) -> None:
    """Write an output folder that holds something else."""
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").write_text("mine")


BED = f"{RUN} --bed r.bed"
CASES: dict[str, Case] = {
    "masked_model": Case("explain --model MLM --input OK --output_dir out", ("mlm", "finetune"), **DONE),
    "unknown_target": Case(f"{RUN} --target c", ("target", "'c'", "'a', 'b'"), remedy=f"{RUN} --target a"),
    "target_in_capitals": Case(f"{RUN} --target B", ("target", "'B'"), remedy=f"{RUN} --target b"),
    "unknown_method": Case(f"{RUN} --method saliency", ("method", "saliency"), remedy=f"{RUN} --method rollout"),
    "unknown_baseline": Case(f"{RUN} --baseline zero", ("baseline", "zero"), remedy=f"{RUN} --baseline mask"),
    "no_steps": Case(f"{RUN} --steps 0", ("steps", "0"), **DONE),
    "too_many_steps": Case(f"{RUN} --steps 5000", ("steps", "5000", "512"), **DONE),
    "no_batch": Case(f"{RUN} --batch_size 0", ("batch_size", "0"), **DONE),
    "negative_figures": Case(f"{RUN} --figures=-1", ("figures", "-1"), **DONE),
    "resume_and_overwrite": Case(f"{RUN} --resume true --overwrite true", ("resume", "overwrite"), **DONE),
    "nothing_to_resume": Case(f"{RUN} --resume true", ("out", "resume"), remedy=f"{RUN} --resume auto"),
    "foreign_folder": Case(f"{RUN} --overwrite true", ("out", "new folder"), folder_of_files),
    "output_is_a_file": Case(RUN, ("out", "file"), lambda folder: (folder / "out").write_text("")),
    "protein": Case("explain --model TUNED --input PROTEIN --output_dir out", ("protein.fa", "p", "position 4")),
    "too_short": Case("explain --model TUNED --input SHORT --output_dir out", ("short.fa", "'s'", "2 nt")),
    "name_twice": Case(
        "explain --model TUNED --input x.fa --output_dir out",
        ("x.fa", "'s'", "same name"),
        lambda folder: (folder / "x.fa").write_text(">s\nACGTACGT\n>s\nACGTTTTT\n"),
    ),
    "no_input": Case("explain --model TUNED --input gone.fa --output_dir out", ("gone.fa", "no such file"), **DONE),
    "no_bed": Case(f"{RUN} --bed gone.bed", ("gone.bed", "no such file"), **DONE),
    "bed_of_blanks": Case(BED, ("r.bed, line 2", "blanks"), bed("r1 0 20")),
    "bed_with_header": Case(BED, ("r.bed, line 2", "'start'"), bed("chrom\tstart\tend")),
    "bed_start_after_end": Case(BED, ("r.bed, line 2", "30", "20"), bed("r1\t30\t20")),
    "bed_with_commas": Case(BED, ("r.bed, line 2", "'1,000'"), bed("r1\t1,000\t2,000")),
    "bed_beyond_the_end": Case(BED, ("r.bed, line 2", "900", "r1", "200 nt"), bed("r1\t10\t900")),
    "bed_of_another_genome": Case(BED, ("r.bed, line 2", "'chr1'", "ok.fa"), bed("chr1\t10\t90")),
    "bed_region_too_short": Case(BED, ("r.bed, line 2", "2 nt"), bed("r1\t10\t12")),
    "bed_region_twice": Case(BED, ("r.bed, line 2", "line 1"), bed("r0\t0\t20")),
    "bed_of_half_a_line": Case(BED, ("r.bed, line 2", "2 of 3"), bed("r1\t10")),
    "bed_with_a_minus": Case(BED, ("r.bed, line 2", "'-5'"), bed("r1\t-5\t20")),
    "bed_of_decimals": Case(BED, ("r.bed, line 2", "'10.0'"), bed("r1\t10.0\t20.0")),
    "bed_strand_in_words": Case(BED, ("r.bed, line 2", "'forward'"), bed("r1\t0\t20\tx\t0\tforward")),
    "bed_for_a_table": Case(
        "explain --model TUNED --input TABLE --output_dir out --bed r.bed", ("table.csv", "bed"), bed("r1\t0\t20")
    ),
    "empty_bed": Case(BED, ("r.bed", "no region"), lambda folder: (folder / "r.bed").write_text("")),
    "sizes_lack_a_contig": Case(
        f"{RUN} --sizes r.bed", ("r.bed", "'r0'"), lambda folder: (folder / "r.bed").write_text("chr1\t5000\n")
    ),
    "sizes_in_words": Case(
        f"{RUN} --sizes r.bed", ("r.bed, line 1", "'long'"), lambda folder: (folder / "r.bed").write_text("r0\tlong\n")
    ),
    "genes_without_genes": Case(
        f"{RUN} --genes g.gff",
        ("g.gff", "no gene"),
        lambda folder: (folder / "g.gff").write_text("r0\tx\texon\t1\t9\t.\t+\t.\tID=e\n"),
    ),
    "track_without_values": Case(f"{RUN} --tracks r.bed", ("r.bed, line 1", "column 4"), bed("r1\t0\t20")),
    "misspelt_key": Case(f"{RUN} --batchsize 4", ("batchsize", "batch_size"), **DONE),
}


def fasta(*records: str):  # noqa: ANN201
    """Return a function that writes sequences, named a, b ..."""
    text = "".join(f">{name}\n{letters}\n" for name, letters in zip("abc", records, strict=False))
    return lambda folder: (folder / "x.fa").write_text(text)


#: What a run leaves, and what is kept of one that can be resumed.
_WRITTEN = ("scores.bedgraph", "report.html", "explain.json", "windows.tsv", "figures", "scores.parquet", "scores.bw")
_PARTIAL = ("windows.jsonl", "places", "settings.json", "scores", "windows.index", "dna", "lengths")
_KEPT = (".out.partial", *(f".out.partial/{name}" for name in _PARTIAL))
_EXPLAIN_X = "explain --model TUNED --input x.fa --output_dir out --figures 0 --steps 2"
CASES |= {
    "unknown_letters_only": Case(
        _EXPLAIN_X, ("x.fa", "'a'", "k-mer"), fasta("N" * 60), repair=fasta("ACGTACGTTTGACA", "N" * 60)
    ),
    "a_short_sequence_between_others": Case(
        f"{_EXPLAIN_X} --overwrite true",
        make=fasta("ACGTACGTTTGACA", "AC", "N" * 60),
        code=0,
        warned=("windows left out: 2", "'b'", "2 nt"),
        leaves=("out", *(f"out/{name}" for name in _WRITTEN)),
    ),
    "a_short_sequence_when_strict": Case(
        f"{_EXPLAIN_X} --strict true",
        ("x.fa", "'b'", "2 nt", "strict"),
        fasta("ACGTACGTTTGACA", "AC"),
        remedy=_EXPLAIN_X,
    ),
    "sizes_too_short": Case(
        f"{_EXPLAIN_X} --sizes s.txt",
        ("s.txt", "'a'", "14", "--resume true"),
        lambda folder: (fasta("ACGTACGTTTGACA")(folder), (folder / "s.txt").write_text("a\t9\n")),
        repair=lambda folder: (folder / "s.txt").write_text("a\t14\n"),
        remedy=f"{_EXPLAIN_X} --sizes s.txt --resume true",
        leaves=_KEPT,
    ),
    "sizes_of_a_place_of_another_length": Case(
        f"{_EXPLAIN_X} --sizes s.txt",
        ("s.txt", "'chr1:0-99'", "--resume true"),
        lambda folder: (
            (folder / "x.fa").write_text(">chr1:0-99\nACGTACGTTTGACA\n"),
            (folder / "s.txt").write_text("chr1\t500\n"),
        ),
        repair=lambda folder: (folder / "s.txt").write_text("chr1:0-99\t14\n"),
        remedy=f"{_EXPLAIN_X} --sizes s.txt --resume true",
        leaves=_KEPT,
    ),
}
