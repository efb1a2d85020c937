"""Find the motifs that a fine-tuned model looks for: `hf-genomics motifs`."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from ..errors import InputError
from ..genomes.shuffling import dinucleotide_shuffle
from ..inference.predict import input_digest, model_digest, read_windows
from ..inference.windows import Window
from ..interpretation.explain import (
    check_finite_scores,
    check_windows,
    columns_without_labels,
    finished_summary,
    kept_if_interrupted,
    partial_folder,
    windows_of_bed,
)
from ..interpretation.files import Records
from ..interpretation.scoring import Method, Settings, explain_windows
from ..interpretation.targets import class_names, class_number, load_explained
from ..io.files import sha256_of
from ..io.genome_tracks import place_of
from ..io.progress import progress_bar
from ..io.text_tables import cell_texts, kind_of, list_names
from ..io.writing import check_output, replacing
from ..labelled.columns import Columns
from ..labelled.datasets import Source, source_name
from ..loading.config_facts import parts_of, task_of
from ..runs.output_folder import Resume, empty_folder, working_folder
from ..sequence import reverse_complement
from ..tokenization_kmer import KmerTokenizer
from .comparison import Match, check_memelite, compare_motifs
from .matrices import background_of, consensus
from .meme import MemeMotif, read_meme
from .outputs import Found, write_found
from .pairs import PairAttention, SitePair, closest_pairs, cooccurrence, pair_attention
from .sequences import ScoredSequences, join_windows
from .sites import Motif, evaluate_motif, make_motifs, sites_of
from .words import compare_words

logger = logging.getLogger(__name__)

_DONE = "motifs.json"  # only a finished run leaves it
_KEPT = ("positives", "negatives")  # folders of the scores of an interrupted run
_PERCENTILE = 99  # of the scores of negatives: high scores are above it
_LEAST_SEQUENCES = 20
_LEAST_SHARING = 2  # sequences with a word in a stretch of high scores that make it a candidate


@dataclass(frozen=True)
class MotifOptions:
    """Further options of `motifs`; on the command line, omit the name of this section.

    Args:
        columns: names of the columns of a table, as in `predict`.
        rna: read U as T.
        strict: refuse the first sequence that the model cannot read, as in `explain`.
        batch_size: number of windows that are encoded at once.
        steps: number of gradients of the methods "ig" and "nt_ig"; fewer than in `explain`, because which nucleotides
            have the highest scores depends little on it.
        alpha: false discovery rate: words with a lower q are significant.
        most: number of motifs at which the search stops.
        attention: compare the attention between sites with that in shuffled sequences.
        seed: seed of the halves and of the shuffles.
        resume: continue an interrupted run with the same model, input and options; "auto" begins a run, continues it,
            or accepts a finished one.
        overwrite: replace the output of an earlier run.

    Raises:
        InputError: if a number is out of range.
    """

    columns: Columns = field(default_factory=Columns)
    rna: bool = False
    strict: bool = False
    batch_size: int = 16
    steps: int = 16
    alpha: float = 0.01
    most: int = 10
    attention: bool = True
    seed: int = 0
    resume: Resume = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check the ranges of the numbers."""
        for key, least in (("batch_size", 1), ("steps", 1), ("most", 1), ("seed", 0)):
            if getattr(self, key) < least:
                raise InputError(f"{key} must be at least {least}, not {getattr(self, key)}")
        if self.steps > 512:
            raise InputError(f"steps must be at most 512, not {self.steps}; more give the same scores")
        if not 0 < self.alpha < 1:
            raise InputError(f"alpha must be above 0 and below 1, not {self.alpha}; 0.01 is the default")
        if self.resume is True and self.overwrite:
            raise InputError("resume continues the run that overwrite would delete; pass only one of them")


def motifs(
    model: str,
    input: Source,
    output_dir: str,
    target: str,
    negatives: Source | None = None,
    bed: str | None = None,
    method: Method = "ig",
    compare: str | None = None,
    options: MotifOptions = MotifOptions(),  # noqa: B008 (immutable)
) -> dict[str, Any]:
    """Find the motifs that a fine-tuned model looks for in the sequences of a class.

    Words of 6 to 8 nt are collected where the scores of one half of the sequences are higher than 99 % of the scores of
    negative sequences; the other half shows which of them are more frequent than in negative sequences. The words
    become matrices, which are refined from their sites. docs/motifs.md explains all steps and files.

    Writes to ``output_dir``: motifs.meme, instances.bed, motifs.tsv, words.tsv (beside the words that counting alone
    finds), pairs.tsv, logos/ with PNG and SVG, report.html, motifs.json, and with `compare` matches.tsv. The folder
    appears when it is complete. All sequences and scores are held in memory. An interrupted run keeps its scores.

    Args:
        model: folder or Hub name of a fine-tuned model.
        input: positive sequences, at least 20, best ones that the model was not trained with: FASTA, FASTQ, GenBank,
            2bit, CSV, TSV or Parquet file, plain or gzipped; in Python also a `datasets.Dataset`. A name such as
            ``chr1:1000-1200`` states where a sequence lies. All rows of a table count as positive, so a table with
            rows of another class is refused.
        output_dir: folder to write.
        target: name of the class, label or value whose motifs are searched.
        negatives: negative sequences, like `input`; by default a shuffle of each positive sequence that keeps its
            dinucleotides.
        bed: BED file of regions of the input, which is then a genome; they are the positive sequences, on their strand.
        method: how nucleotides are scored, as in `explain`.
        compare: MEME file of known motifs, with which the motifs are compared by TOMTOM.
        options: further options.

    Returns:
        The numbers of sequences, candidates, significant words and motifs, and the consensus of each motif.

    Raises:
        InputError: if an input, an option or the model is wrong, or a package is missing; no output is written.

    >>> import hf_genomics as hg
    >>> hg.motifs("runs/ctcf", "peaks.fa", "ctcf_motifs", target="peak")  # doctest: +SKIP
    """
    # `model` is the name or folder of the model here and below, `network` the model itself.
    folder = _claim(Path(output_dir), options)
    _check_packages()
    known = None if compare is None else _read_known(compare)
    network, tokenizer = load_explained(model)
    target_number, steps = _target(network, target, model), options.steps
    # The number of steps is never doubled: which nucleotides have the highest scores depends little on it.
    settings = Settings(method, target_number, "mean", steps, most_steps=steps, batch_size=options.batch_size)
    if bed is None:
        _check_labels(input, network, target, options.columns)
    _warn_of_coarse_scores(model, tokenizer.stride, method)
    windows = _windows(input, bed, network, tokenizer, model, options)
    negative_windows = None if negatives is None else _windows(negatives, None, network, tokenizer, model, options)
    _warn_of_overlaps(windows, source_name(input) if bed is None else bed)
    if negative_windows is not None and negatives is not None:
        _warn_of_shared_windows(windows, negative_windows, source_name(negatives))
    sources: dict[str, Source | None] = {"positives": input, "negatives": negatives}
    identity = _identity(network, sources, bed, settings, options, target, compare)
    if options.resume == "auto" and not options.overwrite and (folder / _DONE).is_file():
        return finished_summary(folder / _DONE, identity)
    with _kept_scores(folder, identity, options) as (positive_records, negative_records):
        scored = _scores(network, tokenizer, windows, settings, positive_records, model)
        if negative_windows is None:
            negative_windows = _shuffled_windows(scored, windows, options.seed)
        scored_negatives = _scores(network, tokenizer, negative_windows, settings, negative_records, model)
        found, summary = find_motifs(scored, scored_negatives, options, paired=negatives is None)
        found = replace(found, attention=_attention(network, tokenizer, windows, found, options))
        if known is not None:
            found = replace(found, matches=_compare(found.motifs, known, str(compare)))
        with replacing(folder) as partial:
            write_found(partial, found, identity, summary)
    if not found.motifs and summary["significant_by_counting"]:
        logger.warning("no motif; counting alone finds %d words, see words.tsv", summary["significant_by_counting"])
    return summary


def find_motifs(
    positives: ScoredSequences, negatives: ScoredSequences, options: MotifOptions, paired: bool = False
) -> tuple[Found, dict[str, Any]]:
    """Find motifs in sequences whose nucleotides have scores.

    One half of the sequences gives the threshold of high scores, the candidates and the matrices; the other half tests
    them.

    Args:
        positives: positive sequences and their scores.
        negatives: negative sequences and their scores.
        options: as in `motifs`; the model's options are not used.
        paired: the negatives are shuffles of the positives in the same order, and stay in the half of their sequence.

    Returns:
        What was found, without attention and matches; and a summary of the numbers.
    """
    generator = np.random.default_rng(options.seed)
    order = generator.permutation(len(positives))
    searched, held_out = _halves(positives, order)
    order = order if paired else generator.permutation(len(negatives))
    searched_negatives, held_out_negatives = _halves(negatives, order)
    scores = searched_negatives.scores
    threshold = float(np.percentile(scores[np.isfinite(scores)], _PERCENTILE))  # the gaps have -infinity
    words = compare_words(searched, threshold, held_out, held_out_negatives, _LEAST_SHARING)
    significant = [word for word in words if word.q < options.alpha]
    candidates = sum(not np.isnan(word.q) for word in words)  # the other words are listed for comparison, without a q
    made = make_motifs(significant, searched, searched_negatives, threshold, options.most)
    tested = [evaluate_motif(motif, held_out, held_out_negatives) for motif in made]
    # Bonferroni correction: each candidate word could have become a motif, so each counts as a test.
    kept = sorted((one for one in tested if one.p * candidates < options.alpha), key=lambda one: one.p)
    kept = [one._replace(name=f"{rank}_{consensus(one.matrix)}") for rank, one in enumerate(kept, start=1)]
    sites = [sites_of(motif, positives) for motif in kept]
    pairs = cooccurrence(closest_pairs(sites), sites, len(positives))
    found = Found(
        motifs=kept,
        words=words,
        alpha=options.alpha,
        sites=sites,
        sequences=positives,
        background=background_of(negatives),
        pairs=pairs,
        attention=None,
        matches=None,
        tested=(len(held_out), len(held_out_negatives)),
    )
    return found, _summary(found, len(negatives), threshold)


def _summary(found: Found, negatives: int, threshold: float) -> dict[str, Any]:
    """Return the numbers of what was found; ``negatives`` is the number of negative sequences."""
    tested_positives, tested_negatives = found.tested
    return {
        "sequences": len(found.sequences),
        "negatives": negatives,
        "threshold": threshold,
        "candidates": found.candidates,
        "significant_words": sum(word.q < found.alpha for word in found.words),
        "significant_by_counting": sum(word.q_counting < found.alpha for word in found.words),
        "motifs": {
            one.name: f"sites in {one.positives} of {tested_positives} and {one.negatives} of {tested_negatives}"
            for one in found.motifs
        },
    }


def _halves(sequences: ScoredSequences, order: np.ndarray) -> tuple[ScoredSequences, ScoredSequences]:
    """Return the first and the second half of the sequences in a random order; each half keeps the original order."""
    middle = len(order) // 2
    return sequences.take(np.sort(order[:middle])), sequences.take(np.sort(order[middle:]))


# Checks before the work starts.


def _claim(folder: Path, options: MotifOptions) -> Path:
    """Return the output folder; raise InputError if it may not be written, without creating it."""
    check_output(folder, folder=True)
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / _DONE).is_file():
            raise InputError(f"{folder} holds files that motifs did not write; name a new folder as output_dir")
        if not (options.overwrite or options.resume == "auto"):
            raise InputError(f"{folder} holds a finished run; choose another output_dir, or pass --overwrite true")
    if options.resume is True and not (partial_folder(folder) / _KEPT[0] / "windows.jsonl").is_file():
        raise InputError(f"{folder}: no interrupted run to resume; omit --resume, or set it to auto")
    return folder


def _check_packages() -> None:
    """Raise InputError if the package that draws logos is missing, with the command that installs it."""
    if importlib.util.find_spec("logomaker") is None:
        raise InputError("motifs needs logomaker for its logos; run: pip install 'hf_genomics[motifs]'")


def _read_known(path: str) -> list[MemeMotif]:
    """Read the motifs to compare with, before anything is computed."""
    check_memelite()
    return read_meme(path)


def _target(network: PreTrainedModel, target: str, model: str) -> int:
    """Return the number of the class; raise InputError for a model that reads pairs."""
    if task_of(network.config, model).paired:
        raise InputError(f"{model} reads pairs of sequences, in which motifs cannot be searched; use another model")
    number = class_number(network.config, target, model)
    if number is None:
        raise InputError(f"target is not set; name one of {list_names(class_names(network.config))}")
    return number


def _check_labels(source: Source, network: PreTrainedModel, target: str, columns: Columns) -> None:
    """Raise InputError if a table has rows that its labels put into another class than the target."""
    names = class_names(network.config)
    is_table = isinstance(source, str | PathLike) and Path(source).is_file() and kind_of(source) != "sequences"
    if not is_table or network.config.problem_type != "single_label_classification":
        return
    # As in training, the column "class" is read if the table has no column "label".
    for column in ["label", "class"] if columns.label == "label" else [columns.label]:
        if cells := cell_texts(str(source), column, columns.header):
            break
    others = sum(cell in names and cell != target for cell in cells)
    if others:
        raise InputError(
            f"{source}: {others:,} of {len(cells):,} rows have another {column} than {target!r}, but all rows "
            f"would count as positive; keep only the rows of {target!r}, and give the others in a file as "
            "negatives (or drop the column to use all)"
        )


def _warn_of_coarse_scores(model: str, stride: int, method: Method) -> None:
    """Warn if the method gives the nucleotides of a token one score, so that words cannot be located to the letter."""
    if stride > 1 and method not in ("ism", "nt_ig"):
        logger.warning(
            "%s: tokens start every %d nt, so neighbouring nucleotides share a score and few words lie wholly in "
            "high scores; try --method ism (or nt_ig, which is faster) to score each nucleotide by itself",
            model,
            stride,
        )


def _warn_of_overlaps(windows: Sequence[Window], source: str) -> None:
    """Warn of sequences that overlap in the genome, because the two halves are then not independent."""
    lengths = {window.name: window.end + window.left_out_after for window in windows}  # that of the last one counts
    places = [place_of(name, length) for name, length in lengths.items()]
    count, contig, end = 0, "", 0
    for place in sorted(places, key=lambda place: (place.contig, place.start)):
        count += place.contig == contig and place.start < end
        end = max(end, place.end) if place.contig == contig else place.end
        contig = place.contig
    if count:
        logger.warning(
            "%s: %s of %s sequences overlap one before them in the genome, so q is too low; merge or drop them",
            source,
            f"{count:,}",
            f"{len(places):,}",
        )


def _warn_of_shared_windows(positives: Sequence[Window], negatives: Sequence[Window], source: str) -> None:
    """Log how many negatives are positives, too, on either strand: motifs in both are not found."""
    seen = {window.row["sequence"].tobytes() for window in positives}
    seen |= {reverse_complement(window.row["sequence"]).tobytes() for window in positives}
    shared = sum(window.row["sequence"].tobytes() in seen for window in negatives)
    if shared:
        logger.warning("%s: %d of %d windows of negatives are in the input, too", source, shared, len(negatives))


# Scores.


def _windows(
    source: Source,
    bed: str | None,
    network: PreTrainedModel,
    tokenizer: KmerTokenizer,
    model: str,
    options: MotifOptions,
) -> list[Window]:
    """Read the windows of a file, or of regions of a genome, each with what the model reads beside it."""
    if bed is None:
        columns = columns_without_labels(network, model, options.columns)
        found = read_windows(source, network, tokenizer, columns, options.rna)
        windows = list(check_windows(found, network, tokenizer, source, options.strict))
    else:
        windows = list(windows_of_bed(source, bed, network, tokenizer, model, options.rna, options.strict)[0])
    # Sequences that the model cannot read are left out. The others are numbered anew, as `join_windows` counts them.
    numbers: dict[int, int] = {}
    windows = [one._replace(sequence_index=numbers.setdefault(one.sequence_index, len(numbers))) for one in windows]
    count = len(numbers)
    if count < _LEAST_SEQUENCES:
        where = source_name(source) if bed is None else bed
        raise InputError(f"{where}: {count} sequences are too few to find motifs; give at least {_LEAST_SEQUENCES}")
    return windows


def _identity(
    network: PreTrainedModel,
    sources: dict[str, Source | None],
    bed: str | None,
    settings: Settings,
    options: MotifOptions,
    target: str,
    compare: str | None,
) -> dict[str, Any]:
    """Return everything that the output of a run depends on: a run is only continued if all of it is the same."""
    inputs: dict[str, Any] = {name: None if one is None else input_digest(one) for name, one in sources.items()}
    inputs["bed"] = None if bed is None else sha256_of(bed)[:12]
    others = ("batch_size", "strict", "resume", "overwrite")  # what is written does not depend on them
    kept = {key: value for key, value in asdict(options).items() if key not in others}
    known = None if compare is None else sha256_of(compare)[:12]
    of_model = {"model": model_digest(network), **inputs, "method": settings.method, "options": kept}
    return of_model | {"target": target, "compare": known}


@contextlib.contextmanager
def _kept_scores(folder: Path, identity: dict[str, Any], options: MotifOptions) -> Iterator[tuple[Records, Records]]:
    """Yield what holds the scores of positives and of negatives; they are kept on disk until the block has ended."""
    partial = partial_folder(folder)
    resume = bool(options.resume) and not options.overwrite
    with working_folder(partial, "another output_dir"):
        positives, negatives = (Records(partial / name, identity, resume) for name in _KEPT)
        with kept_if_interrupted(folder):
            if not resume:
                empty_folder(partial)
            yield positives, negatives
        empty_folder(partial)


def _shuffled_windows(sequences: ScoredSequences, windows: Sequence[Window], seed: int) -> list[Window]:
    """Shuffle every sequence as a whole, and cut it into the same windows; tracks stay where they are."""
    generator = np.random.default_rng(seed)
    letters = np.frombuffer(b"ATCGN", np.uint8)[sequences.digits]  # digits are A0 T1 C2 G3, and 4 for other letters
    shuffles = [
        dinucleotide_shuffle(letters[start : start + length], generator)
        for start, length in zip(sequences.starts[:-1].tolist(), sequences.lengths.tolist(), strict=True)
    ]
    return [
        window._replace(row={**window.row, "sequence": shuffles[window.sequence_index][window.start : window.end]})
        for window in windows
    ]


def _scores(
    network: PreTrainedModel,
    tokenizer: KmerTokenizer,
    windows: Sequence[Window],
    settings: Settings,
    records: Records,
    model: str,
) -> ScoredSequences:
    """Score the windows that have no scores yet, and put those of each sequence together."""
    with records, progress_bar(logger, "score", "window", len(windows)) as bar:
        bar.update(len(records))
        for one in explain_windows(network, tokenizer, islice(windows, len(records), None), settings):
            check_finite_scores(one, model)
            records.add(one)
            bar.update(1)
    return join_windows((window, record.scores) for window, record in zip(windows, records, strict=True))


# Beside the motifs.


def _attention(
    network: PreTrainedModel, tokenizer: KmerTokenizer, windows: Sequence[Window], found: Found, options: MotifOptions
) -> dict[tuple[int, int], PairAttention] | None:
    """Compare the attention between sites with that in shuffles, if the model reads a sequence as one row."""
    if not options.attention:
        return None
    count, part_length = parts_of(network.config)
    if count > 1 or part_length:
        logger.info("attention between sites is left out: the model reads a sequence in parts")
        return None
    pairs: list[SitePair] = closest_pairs(found.sites)
    return pair_attention(network, tokenizer, windows, pairs, options.batch_size, options.seed)


def _compare(motifs: Sequence[Motif], known: Sequence[MemeMotif], source: str) -> list[Match]:
    """Compare the motifs with known ones."""
    return compare_motifs([(one.name, one.matrix) for one in motifs], known, source)
