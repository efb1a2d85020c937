"""The half of `KmerTokenizer` that knows tokens and ids: a vocabulary that is computed, not stored, and decoding.

The special tokens have the ids 0..4, the k-mers follow in the order A, T, C, G with the first letter slowest: DNABERT's
vocabulary. Transformers builds a dictionary of the whole vocabulary when a tokenizer is made, and again for each added
token: 4^k strings, 65,536 for k = 8 and 16,777,216 for k = 12. To avoid that, this file overrides methods that are
private or undocumented in transformers. All that we use of that kind is here, except for ``_encode_plus`` and
``convert_to_native_format`` in `KmerTokenizer`:

* ``_add_tokens`` and ``_update_total_vocab_size``, called when tokens are added and at the end of ``__init__``;
* ``_decode``, which decodes one row of ids;
* ``total_vocab_size``, which ``len()`` returns, ``tokens_trie``, and the setter of ``added_tokens_decoder``, which adds
  the given tokens to those that exist.

``_tokenize``, ``_convert_token_to_id`` and ``_convert_id_to_token`` are the documented hooks of a Python tokenizer.
"""

import re
from typing import Any

import numpy as np
from transformers import AddedToken, PreTrainedTokenizer

from .kmer_decoding import code_to_kmer, is_kmer, kmer_to_code, merge_kmers, mirrored_positions, spell, split_into_kmers
from .kmer_pieces import AddedName
from .sequence import NUM_SPECIAL, UNK_ID, reverse_complement_codes, vocabulary_size


class KmerVocabulary(PreTrainedTokenizer):
    """Tokens, ids and decoding of a k-mer tokenizer.

    Attributes:
        k: k-mer size in nt; set by the sub-class before it calls ``__init__``.
        stride: nt from the start of one k-mer to the start of the next; set in the same way.
        special_names: names of the ids 0..4; set in the same way.
        added_names: added and special tokens, kept up to date as tokens are added.
        names_spell_dna: whether one of these names consists of DNA letters only, so that plain DNA may contain it.
    """

    k: int
    stride: int
    special_names: list[str]
    added_names: tuple[AddedName, ...]
    names_spell_dna: bool
    # Provided by transformers, which has no types for them.
    added_tokens_decoder: dict[int, AddedToken]
    extra_special_tokens: list[str]

    # The vocabulary.

    @property
    def vocab_size(self) -> int:
        """Number of tokens without the added ones: 4^k + 5."""
        return vocabulary_size(self.k)

    def get_vocab(self) -> dict[str, int]:
        """Build the whole vocabulary, token to id; it has 4^k entries and is built again at every call."""
        tokens = (self._convert_id_to_token(index) for index in range(self.vocab_size))
        return {token: index for index, token in enumerate(tokens)} | self.added_tokens_encoder

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write nothing: the vocabulary follows from ``k``."""
        return ()

    def _convert_token_to_id(self, token: str) -> int:
        if token in self.special_names:
            return self.special_names.index(token)
        return kmer_to_code(token) + NUM_SPECIAL if is_kmer(token, self.k) else UNK_ID

    def _convert_id_to_token(self, index: int) -> str:
        if 0 <= index < NUM_SPECIAL:
            return self.special_names[index]
        if not NUM_SPECIAL <= index < self.vocab_size:
            return self.special_names[UNK_ID]
        return code_to_kmer(index - NUM_SPECIAL, self.k)

    def _update_total_vocab_size(self) -> None:
        added = self.added_tokens_decoder
        self.total_vocab_size = self.vocab_size + sum(index >= self.vocab_size for index in added)
        self.added_names = tuple(
            AddedName(token.content, index, token.special, token.single_word) for index, token in added.items()
        )
        self.names_spell_dna = any(not name.text.strip("ACGTUacgtu") for name in self.added_names)

    def _add_tokens(self, new_tokens: list[Any], special_tokens: bool = False) -> int:
        """Add tokens after the k-mers; only mark tokens that exist already. See ``PreTrainedTokenizer._add_tokens``.

        Returns:
            How many tokens are new.

        Raises:
            TypeError: if a token is neither str nor AddedToken.
        """
        before = len(self)
        for token in new_tokens or []:
            if not isinstance(token, str | AddedToken):
                raise TypeError(f"Token {token} is not a string but a {type(token)}.")
            if str(token) and (isinstance(token, AddedToken) or token not in self.added_tokens_encoder):
                self._add_token(token, special_tokens)
        self._update_total_vocab_size()
        return len(self) - before

    def _add_token(self, token: str | AddedToken, special: bool) -> None:
        name = str(token)
        special_names = self.all_special_tokens
        if isinstance(token, str):
            special = special or name in special_names
            token = AddedToken(token, normalized=not special, special=special)
        elif special and not token.special:
            token = AddedToken(
                name,
                single_word=token.single_word,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                normalized=token.normalized,
                special=True,
            )
        index = self.added_tokens_encoder.get(name, self._convert_token_to_id(name))
        if index == UNK_ID and name != self.special_names[UNK_ID]:
            index = len(self)
        self.added_tokens_decoder = {index: token}  # the setter adds this token to the existing ones
        self.tokens_trie.add(name)
        if token.special and name not in special_names:
            self.extra_special_tokens = [*self.extra_special_tokens, name]

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a special token that is set in this way is added, as `add_special_tokens` would add it.

        transformers keeps only the name: the token would have the id of [UNK], without a warning.
        """
        name = "extra_special_tokens" if name == "additional_special_tokens" else name
        super().__setattr__(name, value)
        is_built = "added_names" in self.__dict__  # until then, ``__init__`` of transformers adds the tokens itself
        if is_built and value and (name == "extra_special_tokens" or name in self.SPECIAL_TOKENS_ATTRIBUTES):
            given = value if isinstance(value, list | tuple) else [value]
            ids = self.added_tokens_encoder
            self._add_tokens([token for token in given if str(token) not in ids], special_tokens=True)

    # The route through transformers, one string per token. It is also the slow twin of the other routes in tests.

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        added = {name.text for name in self.added_names if not name.special}
        if not any(name in text for name in added):
            return list(split_into_kmers(text, self.k, self.stride, self.unk_token))
        # Each added token stands for itself and ends the word before it; where several names match, the longest one is
        # taken.
        names = "|".join(map(re.escape, sorted(added, key=len, reverse=True)))
        tokens: list[str] = []
        for piece in re.split(f"({names})", text):
            tokens += [piece] if piece in added else split_into_kmers(piece, self.k, self.stride, self.unk_token)
        return tokens

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Convert tokens to DNA: overlapping k-mers are merged, [UNK] is N, blanks surround other special tokens.

        >>> from hf_genomics import KmerTokenizer
        >>> KmerTokenizer(k=3).convert_tokens_to_string(["ACG", "CGT", "[SEP]", "TTT"])
        'ACGT [SEP] TTT'
        """
        words: list[str] = []
        run: list[str] = []
        for token in tokens:
            if token == self.unk_token or is_kmer(token, self.k):
                run.append(token)
                continue
            words += [*merge_kmers(run, self.k, self.stride), token]
            run = []
        return " ".join(words + merge_kmers(run, self.k, self.stride))

    def _decode(self, token_ids: int | list[int], skip_special_tokens: bool = False, **kwargs: Any) -> str:
        ids = np.atleast_1d(np.asarray(token_ids, np.int64))
        if skip_special_tokens:
            # [UNK] stands for nucleotides: removing it would shift everything after it.
            ids = ids[~np.isin(ids, [index for index in self.all_special_ids if index != UNK_ID])]
        names = {name.id: name.text for name in self.added_names if name.id != UNK_ID and not self._is_kmer(name.id)}
        named = np.isin(ids, list(names))
        words: list[str] = []
        for run in np.split(ids, np.flatnonzero(named[1:] | named[:-1]) + 1):
            if len(run):
                words += [names[int(run[0])]] if int(run[0]) in names else self._spell(run)
        return " ".join(words)

    def _is_kmer(self, ids: Any) -> Any:
        return (ids >= NUM_SPECIAL) & (ids < self.vocab_size)

    def _spell(self, ids: np.ndarray) -> list[str]:
        """Merge ids into words of DNA; every id that is not a k-mer is read as [UNK]."""
        whole = spell(np.where(self._is_kmer(ids), ids, UNK_ID), self.k, self.stride)
        return merge_kmers(self.convert_ids_to_tokens(ids.tolist()), self.k, self.stride) if whole is None else [whole]

    # Arithmetic on ids.

    def reverse_complement_ids(self, ids: Any) -> Any:
        """Reverse-complement rows of ids by integer arithmetic: return the ids of the opposite strand.

        [CLS], [SEP] and [PAD] keep their positions; the k-mers, [UNK] and [MASK] between them are reversed. Exact if no
        tail is uncovered, ``(length - k) % stride == 0``; otherwise the tail is lost.

        Args:
            ids: numpy array or torch tensor, (..., tokens).

        >>> from hf_genomics import KmerTokenizer
        >>> tokenizer = KmerTokenizer(k=3)
        >>> tokenizer.reverse_complement_ids(np.array(tokenizer("ACGTT")["input_ids"])).tolist()
        [2, 7, 16, 50, 3]
        >>> tokenizer("AACGT")["input_ids"]
        [2, 7, 16, 50, 3]
        """
        array = np.asarray(ids)
        reversed_ids = np.take_along_axis(array, mirrored_positions(array), -1)
        complements = reverse_complement_codes(reversed_ids - NUM_SPECIAL, self.k) + NUM_SPECIAL
        result = np.where(self._is_kmer(reversed_ids), complements, reversed_ids)
        return ids.new_tensor(result) if hasattr(ids, "new_tensor") else result
