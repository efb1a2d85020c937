"""Draw the letters around start codons, and those that a model expects there; docs/gallery.md has the commands."""

from __future__ import annotations

import sys
from pathlib import Path

import logomaker
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from hf_genomics.interpretation.figures import LETTER_COLORS

BEFORE, AFTER = 24, 12  # nt before and after the first letter of a gene
OFFSETS = range(-BEFORE, AFTER)
LETTERS = "ACGT"


def main() -> None:
    """Run ``vcf GENES.bed GENOME.fa`` or ``logo GENES.bed SCORES.tsv PICTURE.png``."""
    command, genes, *others = sys.argv[1:]
    if command == "vcf":
        write_variants(forward_starts(Path(genes)), *read_genome(Path(others[0])))
    else:
        starts, scores = forward_starts(Path(genes)), pd.read_csv(others[0], sep="\t")
        draw(information(starts, scores), mean_preferences(starts, scores), Path(others[1]))


def forward_starts(genes: Path) -> list[int]:
    """Return where the genes on the forward strand begin, 0-based."""
    rows = (line.split("\t") for line in genes.read_text().splitlines())
    return [int(row[1]) for row in rows if row[5] == "+"]


def read_genome(fasta: Path) -> tuple[str, str]:
    """Return name and letters of the only record of a FASTA file."""
    header, *lines = fasta.read_text().splitlines()
    return header[1:].split()[0], "".join(lines).upper()


def write_variants(starts: list[int], contig: str, letters: str) -> None:
    """Write all substitutions around the starts to standard output, as VCF."""
    print("##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")
    for place in sorted({start + offset for start in starts for offset in OFFSETS}):
        reference = letters[place]
        for letter in LETTERS.replace(reference, ""):
            print(f"{contig}\t{place + 1}\t.\t{reference}\t{letter}\t.\t.\t.")


def information(starts: list[int], scores: pd.DataFrame) -> pd.DataFrame:
    """Compute the heights of a sequence logo of the genes themselves, in bits, (offsets, letters)."""
    letters = scores.drop_duplicates("pos").set_index("pos")["ref"]
    shares = {at: letters.loc[[start + at + 1 for start in starts]].value_counts(normalize=True) for at in OFFSETS}
    shares = pd.DataFrame(shares).T.reindex(columns=list(LETTERS)).fillna(0.0)
    return shares.mul(2 + (shares * np.log2(shares.where(shares > 0, 1))).sum(axis=1), axis=0)


def mean_preferences(starts: list[int], scores: pd.DataFrame) -> pd.DataFrame:
    """Compute log p of each letter less the mean of the four, the mean over genes, (offsets, letters)."""
    ratios = scores.pivot(index="pos", columns="alt", values="llr")[list(LETTERS)].fillna(0.0)  # 0: the reference
    ratios = ratios.sub(ratios.mean(axis=1), axis=0)
    return pd.DataFrame({at: ratios.loc[[start + at + 1 for start in starts]].mean() for at in OFFSETS}).T


def draw(bits: pd.DataFrame, preferences: pd.DataFrame, picture: Path) -> None:
    """Draw the letters of the genes above the preferences of the model."""
    figure, axes = plt.subplots(2, 1, figsize=(9, 4.6), layout="constrained", sharex=True)
    titles = ("The genes: information (bits)", "The model: log p less the mean of the four letters (nats)")
    for ax, heights, title in zip(axes, (bits, preferences), titles, strict=True):
        logomaker.Logo(heights, ax=ax, color_scheme=LETTER_COLORS, flip_below=False)
        ax.axvspan(-0.5, 2.5, color="#e4e7eb", zorder=-1)
        ax.set_title(title, loc="left", fontsize=10, fontweight="bold")
        ax.spines[["top", "right"]].set_visible(False)
    axes[1].set_xlabel("nt from the first letter of the gene; start codon shaded")
    axes[1].set_xticks(OFFSETS[::3])
    figure.savefig(picture, dpi=150, facecolor="white")
    plt.close(figure)


if __name__ == "__main__":
    main()
