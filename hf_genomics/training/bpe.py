"""Build DNA tokenizers that are plain `PreTrainedTokenizerFast`: non-overlapping k-mers, and byte-pair encoding.

* Their folders hold ``tokenizer.json`` and ``tokenizer_config.json``, and load with `AutoTokenizer` where this package
  is not installed.
* They read lower case (soft-masked) and U as `KmerTokenizer` does, turn every letter that is not DNA into one token,
  return offsets, and never read text such as "[MASK]" as a special token.
* They cannot make overlapping k-mers: the Rust library `tokenizers` has no model for them, which is why
  `KmerTokenizer` exists.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from ..errors import InputError
from ..genomes.store import GenomeStore
from ..io.writing import check_output, replacing
from ..sequence import ALPHABET, NUM_SPECIAL, SPECIAL_TOKENS, kmer_vocabulary, reverse_complement, tile_all

# Letters and what they are read as. They are replaced one by one, because the tokenizers library can normalise to lower
# case but not to upper case.
_READ_AS = {"a": "A", "c": "C", "g": "G", "t": "T", "n": "N", "u": "T", "U": "T"}
#: BERT's special tokens by their role, such as "pad": "[PAD]".
_BERT = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL_TOKENS, strict=True))


def kmers_side_by_side(k: int = 6, model_max_length: int = 2048) -> PreTrainedTokenizerFast:
    """Build the Nucleotide Transformer's tokenizer: k-mers side by side from the left, single letters for the rest.

    Ids are the same as in its version 2: ``<unk> <pad> <mask> <cls> <eos> <bos>``, 4^k k-mers in A, T, C, G order, then
    A, T, C, G and N. No k-mer contains an N: the next k-mer starts after the N. ``<cls>`` is added at the start of a
    sequence, and nothing at its end.

    Args:
        k: k-mer size in nt.
        model_max_length: largest number of tokens that models with this tokenizer read.

    >>> tokenizer = kmers_side_by_side()
    >>> tokenizer.tokenize("ATTCCGattccgNNAT")
    ['ATTCCG', 'ATTCCG', 'N', 'N', 'A', 'T']

    Source: Dalla-Torre et al. 2024 (Nucleotide Transformer), tokenizer of the v2 models.
    """
    special = {name: f"<{name}>" for name in ("unk", "pad", "mask", "cls", "eos", "bos")}
    tokens = [*special.values(), *kmer_vocabulary(k)[NUM_SPECIAL:], *ALPHABET, "N"]
    tokenizer = Tokenizer(models.WordLevel({token: number for number, token in enumerate(tokens)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(f"[ACGT]{{{k}}}|."), "isolated")
    return _as_transformers_tokenizer(tokenizer, special, "<cls> $A", "<cls> $A $B:1", model_max_length)


def train_bpe(
    store: str,
    output_dir: str,
    split: str | None = None,
    vocab_size: int = 4096,
    max_token_length: int = 16,
    window: int = 1000,
    max_nt: int = 4_000_000,
    model_max_length: int = 512,
) -> dict[str, int | float | str]:
    """Train a byte-pair encoding of DNA on the genomes of a store and write it as a folder that AutoTokenizer loads.

    Genomes are cut into windows. All windows are read, or every n-th, to stay below ``max_nt``. Each window is read on
    both strands, so that neither strand is favoured (but the reverse complement of a token need not be a token). The
    result depends only on the genomes and these arguments. Ids 0..4 are BERT's special tokens, 5..8 are A, C, G and T;
    every other letter becomes one [UNK].

    Args:
        store: folder made by ``hf-genomics prepare``.
        output_dir: folder for tokenizer.json and tokenizer_config.json, new or empty; it appears when it is complete.
        split: contigs to train on: a value of the store's column ``split``; null takes all contigs.
        vocab_size: number of tokens in the vocabulary, special tokens included.
        max_token_length: length of the longest token allowed, in nt.
        window: window length in nt; no token is learnt across the border of two windows.
        max_nt: largest number of nt to train on, counted on one strand.
        model_max_length: largest number of tokens that models with this tokenizer read.

    Returns:
        "tokens": size of the vocabulary; "nt": number of nt trained on, counted on one strand; "nt_per_token": mean
        length of a token in them; "tokenizer": the folder.

    Raises:
        InputError: if a number is out of range, there is too little DNA for a vocabulary of this size, or the folder is
            not empty.
    """
    _check_sizes(vocab_size, max_token_length, window, max_nt)
    target = Path(output_dir)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{target}: exists and is not an empty folder; choose another output_dir")
    check_output(target, folder=True)
    windows, is_part = _windows(GenomeStore(store), split, window, max_nt)
    tokenizer = Tokenizer(models.BPE(unk_token=_BERT["unk"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[ACGT]+|."), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(_BERT.values()),
        initial_alphabet=list("ACGT"),
        limit_alphabet=4,
        max_token_length=max_token_length + 1,  # the library stops one short of it
        show_progress=False,
    )
    tokenizer.normalizer = _normalizer()
    tokenizer.train_from_iterator(_both_strands(windows), trainer)
    if tokenizer.get_vocab_size() < vocab_size:
        more = "raise max_nt" if is_part else "take more genomes"
        raise InputError(
            f"{store}: {sum(map(len, windows)):,} nt give {tokenizer.get_vocab_size()} tokens of at most "
            f"{max_token_length} nt, not {vocab_size}; {more} or lower vocab_size"
        )
    templates = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    trained = _as_transformers_tokenizer(tokenizer, _BERT, *templates, model_max_length)
    with replacing(target) as folder:
        save(trained, folder)
    encoded = trained([_text(row) for row in windows], add_special_tokens=False)["input_ids"]
    nt, tokens = sum(map(len, windows)), sum(map(len, encoded))
    return {"tokens": vocab_size, "nt": nt, "nt_per_token": nt / tokens, "tokenizer": str(target)}


def _check_sizes(vocab_size: int, max_token_length: int, window: int, max_nt: int) -> None:
    """Check the ranges of the numbers of `train_bpe`, and that so many tokens of that length exist."""
    if not 10 <= vocab_size <= 2**16:
        raise InputError(f"vocab_size must lie in 10..65536, not {vocab_size}")
    for name, length in (("max_token_length", max_token_length), ("window", window), ("max_nt", max_nt)):
        if length < 2:
            raise InputError(f"{name} must be at least 2 nt, not {length}")
    if window > max_nt:
        raise InputError(f"max_nt must be at least a window of {window} nt, not {max_nt}; raise it or lower window")
    # 4 tokens of 1 nt, 16 of 2 nt and so on; from 8 nt on, there are more than any vocabulary holds.
    possible = NUM_SPECIAL + sum(4**length for length in range(1, min(max_token_length, 8) + 1))
    if vocab_size > possible:
        raise InputError(
            f"vocab_size must be at most {possible} with tokens of at most {max_token_length} nt, not {vocab_size}; "
            "lower it or raise max_token_length"
        )


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write ``tokenizer.json`` without white space, and a ``tokenizer_config.json`` that older transformers reads too.

    Args:
        tokenizer: tokenizer to write.
        folder: folder to write to.
    """
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")) + "\n")
    # transformers 5 may write "TokenizersBackend", a class that earlier versions do not have.
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _windows(store: GenomeStore, split: str | None, window: int, max_nt: int) -> tuple[list[np.ndarray], bool]:
    """Read windows that lie side by side on the contigs, ordered by name: all of them, or every n-th.

    Args:
        store: genome store.
        split: contigs to read, or None for all.
        window: window length in nt.
        max_nt: largest number of nt to read, at least ``window``.

    Returns:
        uint8 letters of each window, and whether windows were omitted.
    """
    contigs = store.contigs.iloc[store.select(split)].sort_values("name", kind="stable")
    every = -(-int(contigs["length"].sum()) // max_nt)  # rounded up
    owner, starts, ends = tile_all(contigs["length"].to_numpy(), window, window, end="short")
    # The last window of a contig is short, so every n-th window may be more than an n-th of the letters.
    while int((ends - starts)[::every].sum()) > max_nt:
        every += 1
    places = zip(contigs.index[owner].tolist(), starts.tolist(), (ends - starts).tolist(), strict=True)
    return [store.window(*place) for place in itertools.islice(places, 0, None, every)], every > 1


def _both_strands(windows: list[np.ndarray]) -> Iterator[str]:
    """Iterate over windows as text, each followed by its reverse complement."""
    for letters in windows:
        yield _text(letters)
        yield _text(reverse_complement(letters))


def _text(letters: np.ndarray) -> str:
    """Return uint8 letters as text."""
    return letters.tobytes().decode("ascii")


def _normalizer() -> normalizers.Normalizer:
    """Build the normaliser that writes bases in upper case and U as T."""
    return normalizers.Sequence([normalizers.Replace(letter, read) for letter, read in _READ_AS.items()])


def _as_transformers_tokenizer(
    tokenizer: Tokenizer, special: dict[str, str], single: str, pair: str, model_max_length: int
) -> PreTrainedTokenizerFast:
    """Turn a tokenizer of the Rust library into one of transformers, with what all tokenizers of this module share.

    Args:
        tokenizer: tokenizer that splits DNA into tokens.
        special: special tokens by their role, such as "pad": "[PAD]".
        single: template of one sequence, such as "[CLS] $A [SEP]".
        pair: template of a pair of sequences.
        model_max_length: largest number of tokens that models with this tokenizer read.
    """
    tokenizer.normalizer = _normalizer()
    tokenizer.decoder = decoders.Fuse()
    around = [(token, tokenizer.token_to_id(token)) for token in special.values() if token in pair]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=around)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{f"{name}_token": token for name, token in special.items()},
        model_max_length=model_max_length,
        model_input_names=["input_ids", "attention_mask"],
        split_special_tokens=True,  # collators pass sequences as str, and "[MASK]" in a sequence is data
        clean_up_tokenization_spaces=False,
    )
