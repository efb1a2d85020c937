"""Inputs of `hf-genomics motifs`: models, targets, too few sequences, MEME files and output folders."""

from __future__ import annotations

from pathlib import Path

from small_files import dna, fasta

from .case import Case

RUN = "motifs --model TUNED --input p.fa --target b --output_dir out --steps 1 --attention false"
MEME = "MEME version 4\n\nALPHABET= ACGT\n\nMOTIF one\nletter-probability matrix: alength= 4 w= 2\n"


def peaks(folder: Path) -> None:
    """Write enough sequences."""
    fasta(folder / "p.fa", **{f"p{row}": dna(30, row) for row in range(20)})


def beside(name: str, text: str):  # noqa: ANN201
    """Write enough sequences and another file."""
    return lambda folder: (peaks(folder), (folder / name).write_text(text))


def labelled(count: int):  # noqa: ANN201
    """Write a table of 20 rows of class b, and some of class a."""
    rows = [f"{dna(30, row)},{'b' if row < 20 else 'a'}\n" for row in range(20 + count)]
    return lambda folder: (folder / "t.csv").write_text("sequence,label\n" + "".join(rows))


def filled(folder: Path) -> None:
    """Write enough sequences and an output folder that holds something else."""
    peaks(folder)
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").write_text("mine")


def regions(line: str):  # noqa: ANN201
    """Write a BED file of 21 regions, the last one being this line."""
    return lambda folder: (folder / "r.bed").write_text("".join(f"r0\t{n}\t{n + 20}\n" for n in range(20)) + line)


BED = f"{RUN.replace('p.fa', 'OK')} --bed r.bed"
CASES: dict[str, Case] = {
    "a_sequence_of_unknown_letters_when_strict": Case(
        f"{RUN} --strict true",
        ("p.fa", "'n'", "k-mer", "strict"),
        lambda folder: fasta(folder / "p.fa", **{f"p{row}": dna(30, row) for row in range(20)}, n="N" * 40),
        remedy=RUN,
    ),
    "no_bed": Case(f"{RUN} --bed gone.bed", ("gone.bed", "no such file"), peaks),
    "bed_of_another_genome": Case(BED, ("r.bed, line 21", "'chr1'", "ok.fa"), regions("chr1\t0\t20\n")),
    "bed_beyond_the_end": Case(BED, ("r.bed, line 21", "900", "r0"), regions("r0\t0\t900\n")),
    "bed_region_twice": Case(BED, ("r.bed, line 21", "line 1"), regions("r0\t0\t20\n")),
    "bed_of_few_regions": Case(
        BED, ("r.bed", "1 sequences", "20"), lambda folder: (folder / "r.bed").write_text("r0\t0\t20\n")
    ),
    "bed_for_a_table": Case(BED.replace("OK", "TABLE"), ("table.csv", "bed"), regions("r0\t50\t70\n")),
    "nothing_to_resume": Case(f"{RUN} --resume true", ("out", "resume"), peaks),
    "resume_and_overwrite": Case(f"{RUN} --resume true --overwrite true", ("resume", "overwrite"), peaks),
    "no_target": Case(RUN.replace("--target b ", ""), ("target",), peaks),
    "unknown_target": Case(RUN.replace("--target b", "--target c"), ("target", "'c'", "'a', 'b'"), peaks),
    "masked_model": Case(RUN.replace("TUNED", "MLM"), ("mlm", "finetune"), peaks),
    "rows_of_another_class": Case(
        RUN.replace("p.fa", "t.csv"), ("t.csv", "5 of 25 rows", "label", "'b'"), labelled(5), repair=labelled(0)
    ),
    "too_few_sequences": Case(RUN.replace("p.fa", "OK"), ("ok.fa", "6 sequences", "at least 20")),
    "too_few_negatives": Case(f"{RUN} --negatives OK", ("ok.fa", "6 sequences", "at least 20"), peaks),
    "no_negatives": Case(f"{RUN} --negatives gone.fa", ("gone.fa", "no such file"), peaks),
    "alpha_of_5": Case(f"{RUN} --alpha 5", ("alpha", "5"), peaks),
    "no_motifs": Case(f"{RUN} --most 0", ("most", "0"), peaks),
    "foreign_folder": Case(f"{RUN} --overwrite true", ("out", "new folder"), filled),
    "no_meme_file": Case(f"{RUN} --compare gone.meme", ("gone.meme", "no such file"), peaks),
    "fasta_as_meme": Case(f"{RUN} --compare p.fa", ("p.fa", "MEME version"), peaks),
    "meme_cut_off": Case(
        f"{RUN} --compare m.meme", ("m.meme, line 6", "motif 'one'", "1 rows"), beside("m.meme", MEME + "1 0 0 0\n")
    ),
    "meme_of_counts": Case(
        f"{RUN} --compare m.meme", ("m.meme, line 7", "motif 'one'", "12"), beside("m.meme", MEME + "12 1 3 4\n" * 2)
    ),
}


def unknown(folder: Path) -> None:
    """Write sequences of unknown letters only."""
    fasta(folder / "p.fa", **{f"p{row}": "N" * 30 for row in range(20)})


CASES |= {"unknown_letters_only": Case(RUN, ("p.fa", "'p0'", "k-mer"), unknown, repair=peaks)}
