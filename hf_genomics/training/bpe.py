"""Build DNA tokenizers that are plain `PreTrainedTokenizerFast`: non-overlapping k-mers, and byte-pair encoding.

* Their folders hold ``tokenizer.json`` and ``tokenizer_config.json``, and load with `AutoTokenizer` where this package
  is not installed.
* They read lower case (soft-masked) and U as `KmerTokenizer` does, give every letter that is not DNA a token of its own
  in its place, return offsets, and never read text such as "[MASK]" as a special token.
* Overlapping k-mers are not among them: the Rust tokenizers cannot express those, which is why `KmerTokenizer` exists.
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
from ..io.writing import replacing
from ..sequence import ALPHABET, NUM_SPECIAL, SPECIAL_TOKENS, kmer_vocabulary, reverse_complement, tile_all

# Replacements, because the tokenizers library can normalise to lower case but not to upper case.
_READ_AS = {"a": "A", "c": "C", "g": "G", "t": "T", "n": "N", "u": "T", "U": "T"}
_BERT = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL_TOKENS, strict=True))


def kmers_side_by_side(k: int = 6, model_max_length: int = 2048) -> PreTrainedTokenizerFast:
    """Build the Nucleotide Transformer's tokenizer: k-mers from the left, single letters for the rest.

    Ids are those of its version 2: ``<unk> <pad> <mask> <cls> <eos> <bos>``, 4^k k-mers in A, T, C, G order, then A, T,
    C, G and N. A k-mer contains no N: reading starts anew behind each N. Only ``<cls>`` is added, in front.

    Args:
        k: k-mer size in nt.
        model_max_length: tokens of the models for which it is meant.

    >>> tokenizer = kmers_side_by_side()
    >>> tokenizer.tokenize("ATTCCGattccgNNAT")
    ['ATTCCG', 'ATTCCG', 'N', 'N', 'A', 'T']

    Source: Dalla-Torre et al. 2024 (Nucleotide Transformer), tokenizer of the v2 models.
    """
    special = {name: f"<{name}>" for name in ("unk", "pad", "mask", "cls", "eos", "bos")}
    tokens = [*special.values(), *kmer_vocabulary(k)[NUM_SPECIAL:], *ALPHABET, "N"]
    tokenizer = Tokenizer(models.WordLevel({token: number for number, token in enumerate(tokens)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(f"[ACGT]{{{k}}}|."), "isolated")
    return _finished(tokenizer, special, "<cls> $A", "<cls> $A $B:1", model_max_length)


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

    Genomes are cut into windows, of which all or every n-th are read, to stay below ``max_nt``. Each window is read on
    both strands, so neither is favoured (but the reverse complement of a token need not be a token). The result depends
    on the genomes and these arguments only. Ids 0..4 are BERT's special tokens, 5..8 are A, C, G and T; other letters
    are [UNK], one token each.

    Args:
        store: folder made by ``hf-genomics prepare``.
        output_dir: folder for tokenizer.json and tokenizer_config.json, new or empty; it appears when it is complete.
        split: contigs to train on: a value of the store's column ``split``; null takes all contigs.
        vocab_size: tokens of the vocabulary, special tokens included.
        max_token_length: longest token, in nt.
        window: window length in nt; no token is learnt across the end of a window.
        max_nt: most nt to train on, before the other strand is added.
        model_max_length: tokens of the models for which it is meant.

    Returns:
        "tokens" in the vocabulary; "nt" trained on, one strand; "nt_per_token", their mean; "tokenizer", the folder.

    Raises:
        InputError: if a number is out of range, there is too little DNA for so many tokens, or the folder is not empty.
    """
    if not 10 <= vocab_size <= 2**16:
        raise InputError(f"vocab_size must lie in 10..65536, not {vocab_size}")
    if min(max_token_length, window, max_nt) < 2:
        raise InputError(
            f"max_token_length ({max_token_length}), window ({window}) and max_nt ({max_nt}) must be at least 2 nt each"
        )
    target = Path(output_dir)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{target}: exists and is not an empty folder; choose another output_dir")
    windows = _windows(GenomeStore(store), split, window, max_nt)
    tokenizer = Tokenizer(models.BPE(unk_token=_BERT["unk"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[ACGT]+|."), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(_BERT.values()),
        initial_alphabet=list("ACGT"),
        limit_alphabet=4,
        max_token_length=max_token_length,
        show_progress=False,
    )
    tokenizer.normalizer = _normalizer()
    tokenizer.train_from_iterator(_both_strands(windows), trainer)
    if tokenizer.get_vocab_size() < vocab_size:
        raise InputError(
            f"{store}: {sum(map(len, windows)):,} nt give {tokenizer.get_vocab_size()} tokens of at most "
            f"{max_token_length} nt, not {vocab_size}; take more genomes or lower vocab_size"
        )
    templates = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1")
    finished = _finished(tokenizer, _BERT, *templates, model_max_length)
    with replacing(target) as folder:
        save(finished, folder)
    encoded = finished([_text(row) for row in windows], add_special_tokens=False)["input_ids"]
    nt, tokens = sum(map(len, windows)), sum(map(len, encoded))
    return {"tokens": vocab_size, "nt": nt, "nt_per_token": nt / tokens, "tokenizer": str(target)}


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write ``tokenizer.json`` without white space, and a ``tokenizer_config.json`` that any transformers reads."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")) + "\n")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _windows(store: GenomeStore, split: str | None, window: int, max_nt: int) -> list[np.ndarray]:
    """Cut contigs, in the order of their names, into windows side by side, and read every n-th; uint8 letters."""
    contigs = store.contigs.iloc[store.select(split)].sort_values("name", kind="stable")
    every = -(-int(contigs["length"].sum()) // max_nt)
    owner, starts, ends = tile_all(contigs["length"].to_numpy(), window, window, end="short")
    places = zip(contigs.index[owner].tolist(), starts.tolist(), (ends - starts).tolist(), strict=True)
    return [store.window(*place) for place in itertools.islice(places, 0, None, every)]


def _both_strands(windows: list[np.ndarray]) -> Iterator[str]:
    """Iterate over windows as text, each followed by its reverse complement."""
    for letters in windows:
        yield _text(letters)
        yield _text(reverse_complement(letters))


def _text(letters: np.ndarray) -> str:
    return letters.tobytes().decode("ascii")


def _normalizer() -> normalizers.Normalizer:
    return normalizers.Sequence([normalizers.Replace(letter, read) for letter, read in _READ_AS.items()])


def _finished(
    tokenizer: Tokenizer, special: dict[str, str], single: str, pair: str, model_max_length: int
) -> PreTrainedTokenizerFast:
    """Add what all these tokenizers share: reading of lower case, special tokens around a row, decoding to DNA."""
    tokenizer.normalizer = _normalizer()
    tokenizer.decoder = decoders.Fuse()
    around = [(token, tokenizer.token_to_id(token)) for token in special.values() if token in pair]
    tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=around)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{f"{name}_token": token for name, token in special.items()},
        model_max_length=model_max_length,
        model_input_names=["input_ids", "attention_mask"],
        split_special_tokens=True,  # collators hand sequences as str to these, so a "[MASK]" in them is data
        clean_up_tokenization_spaces=False,
    )
