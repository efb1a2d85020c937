"""Tiny masked-token models, genomes and VCF files for the tests of variant scores."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from hf_genomics import KmerBertConfig, KmerBertForMaskedLM, KmerBertForSequenceClassification, KmerTokenizer
from hf_genomics.sequence import reverse_complement

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


@functools.cache
def masked_model(k: int = 3, stride: int = 1, tokens: int = 40):
    """A masked-token model with large random weights, so that scores differ, and its tokenizer."""
    torch.manual_seed(k * 10 + stride)
    config = KmerBertConfig(k=k, stride=stride, max_position_embeddings=tokens, initializer_range=0.3, **SIZES)
    return KmerBertForMaskedLM(config).eval(), KmerTokenizer(k=k, stride=stride)


@functools.cache
def classifier(k: int = 3, stride: int = 1, tokens: int = 40):
    """A classifier of three classes with large random weights, and its tokenizer."""
    torch.manual_seed(1)
    names = {"id2label": {0: "a b", 1: "a-b", 2: "c"}, "label2id": {"a b": 0, "a-b": 1, "c": 2}}
    config = KmerBertConfig(
        k=k,
        stride=stride,
        max_position_embeddings=tokens,
        initializer_range=0.3,
        problem_type="single_label_classification",
        **SIZES,
        **names,
    )
    return KmerBertForSequenceClassification(config).eval(), KmerTokenizer(k=k, stride=stride)


def save(pair, folder: Path) -> str:
    """Save a model and its tokenizer, and return the folder."""
    for one in pair:
        one.save_pretrained(folder)
    return str(folder)


def write_fasta(path: Path, width: int = 60, **contigs: str) -> str:
    """Write a FASTA file with lines of one length, and return its path."""
    lines = []
    for name, letters in contigs.items():
        lines += [f">{name} a description", *(letters[at : at + width] for at in range(0, len(letters), width))]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def write_vcf(path: Path, *rows: str) -> str:
    """Write a VCF file from rows with blanks for tabs, and return its path."""
    path.write_text(HEADER + "".join("\t".join(row.split()) + "\n" for row in rows))
    return str(path)


def opposite_vcf(rows: list[tuple[int, str, str]], length: int) -> list[tuple[int, str, str]]:
    """Return substitutions (1-based position, REF, ALT) as the reverse-complemented contig has them."""
    return [
        (length - (position - 1) - len(ref) + 1, reverse_complement(ref), reverse_complement(alt))
        for position, ref, alt in rows
    ]
