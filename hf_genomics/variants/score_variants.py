"""Score the variants of a VCF file, of a region or of pairs of sequences: `hf-genomics score-variants`."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from transformers import AutoModelForMaskedLM, PreTrainedModel

from ..errors import InputError, is_private
from ..inference.growing_table import finished_before, record_of
from ..inference.predict import input_digest, model_digest
from ..inference.scores import ready
from ..io.progress import progress_bar
from ..io.streams import destination, is_stream
from ..io.writing import check_output_file
from ..loading.config_facts import longest_window, task_of
from ..loading.model_folder import readable
from ..loading.models import check_finite, load_classifier, load_config, load_tokenizer, no_load_report
from ..runs.output_folder import Resume
from ..saved_files import read_json
from ..sequence import covered_nt, num_kmers
from ..sequence_files.reference import Reference, import_pysam
from ..tokenization_kmer import KmerTokenizer
from .calibration import Background, measure_background, neutral_events, read_neutral
from .effects import Effect
from .likelihood import Estimator, score_events
from .outputs import AFTER, BEFORE, Format, GrowingScores, ScoredVariant, draw_region, format_of, table_text, vcf_text
from .scoring import Scorer
from .sites import WindowRule, spread_frames
from .sources import OnMismatch, Record, pair_records, region_of_genome, region_records, vcf_records
from .vcf import PREFIX, Header, Line, add_header, read_vcf, refuse_fields, refuse_info, strip_header, strip_info

logger = logging.getLogger(__name__)

_RECORDS_AT_ONCE = 512  # records that are scored and written together
_DENSE_NT, _WIDE_NT = 300, 600  # default windows at stride 1 and above
_MOST_DRAWN = 2000  # nt of a heat map


@dataclass(frozen=True)
class VariantOptions:
    """Options of `score_variants`; see there."""

    estimator: Estimator = "joint"
    sites_per_forward: int | Literal["auto"] = 1
    frames: int = 3
    window: int | None = None
    effects: list[Effect] | None = None
    on_ref_mismatch: OnMismatch = "error"
    match_chr: bool = False
    overwrite_fields: bool = False
    background: str | None = None
    background_sites: int = 5000
    picture: str | None = None
    batch_size: int = 16
    overwrite: bool = False


def with_options_of(kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Replace the parameter ``**options`` in the signature of a function by the fields of a dataclass.

    So each default is written once, in the dataclass, and the command line and ``help()`` show every option.

    Args:
        kind: the dataclass; the command line shows its fields as options of the verb.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(function, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
        types = inspect.get_annotations(kind, eval_str=True)
        added = [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=types[one.name])
            for one in fields(kind)
        ]
        decorated: Any = function
        decorated.__signature__ = signature.replace(parameters=[*own, *added])
        decorated.__annotations__ = {
            **{one.name: one.annotation for one in [*own, *added]},
            "return": signature.return_annotation,
        }
        return function

    return decorate


@with_options_of(VariantOptions)
def score_variants(
    model: str,
    output: str,
    vcf: str | None = None,
    fasta: str | None = None,
    pairs: str | None = None,
    region: str | None = None,
    resume: Resume = False,
    **options: Any,
) -> dict[str, Any]:
    """Score the variants of a VCF file, all substitutions of a region, or pairs of sequences, by their likelihood.

    A substitution gets the joint log-likelihood ratio (LLR), in nats, negative if the model prefers the reference: all
    tokens that show the letter are masked. It is averaged over frames (places of the letter in its token; each has its
    own window) and over both strands. Insertions and deletions, and substitutions of more than k nt, get
    the difference of the mean log-probability per nucleotide (``pll_delta``). A fine-tuned model gives the logits of
    its classes with either allele instead.

    Args:
        model: folder or Hub name of a pretrained (masked-token) or fine-tuned model.
        output: file to write, .vcf, .vcf.gz (with an index if it is sorted), .tsv or .parquet.
        vcf: VCF file, plain or compressed; its lines are copied, and column INFO gets fields HFG_*.
        fasta: genome of the VCF file or region, FASTA, plain or compressed by bgzip.
        pairs: CSV, TSV or Parquet table with the columns sequence and alt_sequence, instead of a VCF file.
        region: "contig:start-end", 1-based, both ends included: all substitutions there, instead of a VCF file.
        resume: continue an interrupted run with the same input and options; "auto" begins a run, continues it, or
            accepts a finished one: the choice for a command that is started again and again.
        estimator: "joint"; for comparison "marginal" (k-mers with the letter are summed) or "unmasked".
        sites_per_forward: number of sites that are masked in one window; 1 is exact, auto or more is faster for regions
            and dense files.
        frames: number of places of a variant in its token that are averaged if the stride is above 1.
        window: length of the windows in nt; by default 300 at stride 1, 600 above, or what the model reads.
        effects: further comparisons of the alleles by a pretrained model: embedding, influence, attention.
        on_ref_mismatch: "error" stops at a record whose REF is not in the genome; "skip" flags it.
        match_chr: take chr1 for 1, and 1 for chr1.
        overwrite_fields: replace the HFG_ fields of an earlier run.
        background: BED file of neutral regions; adds a score calibrated by 5-mer, and a quantile.
        background_sites: largest number of neutral sites that are scored.
        picture: PNG or SVG file for a heat map of a region.
        batch_size: number of windows that are encoded at once.
        overwrite: replace the output of an earlier run.
        options: the arguments from ``estimator`` on; see `VariantOptions` for their defaults.

    Returns:
        Numbers of records, of alleles that were scored, and of alleles by flag.

    Raises:
        InputError: if an input is wrong; the message names file and line, and no output is written.

    >>> import hf_genomics as hg
    >>> hg.score_variants("runs/model", "scored.vcf.gz", vcf="in.vcf.gz", fasta="genome.fa")  # doctest: +SKIP
    """
    settings = VariantOptions(**options)
    kind = format_of(output)
    _check(kind, vcf, fasta, pairs, region, settings)
    inputs = [model, vcf, fasta, pairs, settings.background]
    for file in (output, settings.picture):
        if file is not None:
            check_output_file(file, inputs, overwrite=settings.overwrite or resume == "auto")
    if is_stream(Path(output)):
        raise InputError(f"{output} is not a file, and scores are collected in one; name a file to write")
    network, tokenizer = load_scorer(model)
    _check_kind(network, settings)
    with ExitStack() as stack:
        scorer = Scorer(
            network,
            tokenizer,
            window_rule(network, tokenizer, settings.window, settings.frames),
            settings.estimator,
            settings.sites_per_forward,
            tuple(dict.fromkeys(settings.effects or ())),
            batch_size=settings.batch_size,
        )
        reference = stack.enter_context(Reference(fasta, settings.match_chr)) if fasta is not None else None
        source = _open_source(stack, vcf, reference, pairs, region, scorer.rule.k, settings)
        stack.enter_context(ready(network))
        facts = {"model": model_digest(network), **source.digest, "options": _relevant(settings, kind)}
        if resume == "auto" and not settings.overwrite and Path(output).exists():
            done = _finished(output, facts)
            if settings.picture is None or Path(settings.picture).exists():
                return done
            # Only the picture is missing. It needs all scores, so the region is scored again.
        if settings.background is not None and reference is not None:
            scorer.background = _background(settings.background, settings.background_sites, reference, scorer)
        header = _header(kind, source, scorer, Path(os.path.abspath(model)).name, facts["model"])
        # A picture needs the scores of the whole region.
        with GrowingScores(Path(output), kind, header, facts, resume, whole=settings.picture is not None) as table:
            return _run(source, scorer, table, kind, settings)


def _finished(output: str, facts: dict[str, Any]) -> dict[str, Any]:
    """Return the counts of a finished run with `resume` "auto"; raise InputError if it was another run's."""
    finished_before(Path(output), facts)
    logger.info("%s: finished; nothing to do", output)
    record = read_json(record_of(destination(Path(output))))
    return _summary(record["counts"], record["records"])


class _Source(NamedTuple):
    """Where records come from.

    Attributes:
        records: the records, read while they are needed.
        header: header of the VCF file; None for other sources.
        contigs: name and length of the contigs of a genome, for the header of a new VCF file.
        digest: what identifies the input.
        total: number of records, or None if it is not known.
        region: contig, start and end of a region.
    """

    records: Iterator[Record]
    header: Header | None
    contigs: dict[str, int]
    digest: dict[str, Any]
    total: int | None
    region: tuple[str, int, int] | None


def _check(
    kind: Format, vcf: str | None, fasta: str | None, pairs: str | None, region: str | None, options: VariantOptions
) -> None:
    """Check which options are given together, before anything is read."""
    given = [f"--{name}" for name, value in (("vcf", vcf), ("pairs", pairs), ("region", region)) if value is not None]
    if len(given) != 1:
        raise InputError(f"give one of --vcf, --pairs and --region, not {' and '.join(given) or 'none'}")
    if pairs is None and fasta is None:
        raise InputError(f"{given[0]} needs the genome: add --fasta FILE")
    if pairs is not None and fasta is not None:
        raise InputError("--pairs has the sequences in its table; omit --fasta")
    if pairs is not None and kind.startswith("vcf"):
        raise InputError("--pairs has no genome coordinates for a VCF file; name an output .tsv or .parquet")
    if pairs is not None and options.background is not None:
        raise InputError("--background needs a genome, which --pairs does not have; omit --background")
    if kind == "vcf.gz":
        import_pysam("a .vcf.gz file")
    _check_numbers(options)
    if options.picture is not None:
        if region is None:
            raise InputError("--picture draws a region; add --region contig:start-end, or omit --picture")
        if is_private():
            raise InputError(
                "--picture shows the reference sequence, which a private run does not draw; omit --picture"
            )
        if not options.picture.lower().endswith((".png", ".svg")):
            raise InputError(f"--picture {options.picture}: name a file .png or .svg")


def _check_numbers(options: VariantOptions) -> None:
    """Check that numbers are in their ranges."""
    sites = options.sites_per_forward
    if sites != "auto" and sites < 1:
        raise InputError(f"sites_per_forward must be auto or at least 1, not {sites}")
    for name in ("frames", "batch_size", "background_sites"):
        if getattr(options, name) < 1:
            raise InputError(f"{name} must be at least 1, not {getattr(options, name)}")


def _check_kind(network: PreTrainedModel, options: VariantOptions) -> None:
    """Check that the options fit the kind of model."""
    if hasattr(network, "cls"):  # a masked-token model
        return
    if options.background is not None:
        raise InputError("--background calibrates the LLR of a pretrained model; omit it for a fine-tuned one")
    if options.effects:
        raise InputError("--effects compares the output of a pretrained model; omit it for a fine-tuned one")


def load_scorer(name: str) -> tuple[PreTrainedModel, KmerTokenizer]:
    """Load a masked-token model, or a model that was fine-tuned on sequences, with its tokenizer.

    Args:
        name: folder or Hub name.

    Returns:
        The model in float32 and in evaluation mode, and its tokenizer.

    Raises:
        InputError: if it cannot be loaded, or needs pairs, tracks or labels per nucleotide.
    """
    config = load_config(name)
    if "ForMaskedLM" in " ".join(config.architectures or []):
        return _load_masked(name), load_tokenizer(name)
    network, tokenizer = load_classifier(name)
    task = task_of(network.config, name)
    if task.level == "nt" or task.paired or task.track_names or task.nt_track_names:
        kind = "labels per nucleotide" if task.level == "nt" else "pairs of sequences" if task.paired else "tracks"
        raise InputError(
            f"{name} was fine-tuned on {kind}, which a variant does not have; give a pretrained model, or one that was "
            "fine-tuned on sequences"
        )
    return network.float(), tokenizer


def _load_masked(name: str) -> PreTrainedModel:
    """Load a masked-token model in float32; raise InputError if a weight is missing, NaN or infinite."""
    with readable(name), no_load_report():
        network, info = AutoModelForMaskedLM.from_pretrained(name, output_loading_info=True)
    if missing := sorted(info["missing_keys"]):
        raise InputError(
            f"{name}: {len(missing)} weights are missing ({missing[0]}), so it predicts no tokens; copy all files of "
            "the pretrained model"
        )
    check_finite(network.state_dict().items(), name)
    return network.float().eval()


def window_rule(model: PreTrainedModel, tokenizer: KmerTokenizer, window: int | None, frames: int = 3) -> WindowRule:
    """Build the rule by which windows are cut for a model.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        window: length in nt; None for the default.
        frames: number of frames that are averaged.

    Raises:
        InputError: if the model does not read windows of that length.
    """
    k, stride = tokenizer.k, tokenizer.stride
    longest = longest_window(model.config, tokenizer)
    if window is None:
        usual = _DENSE_NT if stride == 1 else _WIDE_NT
        # A masked-token model has `cls`. A fine-tuned model reads windows as long as it can, as in its training.
        window = min(longest, usual) if hasattr(model, "cls") else longest
    least = min(3 * k, longest)
    if not least <= window <= longest:
        raise InputError(f"window must lie in {least}..{longest} nt, which the model reads at once, not {window}")
    length = covered_nt(num_kmers(window, k, stride), k, stride)  # without the nt at the end that fill no token
    return WindowRule(k, stride, length, spread_frames(k, stride, frames))


def _open_source(
    stack: ExitStack,
    vcf: str | None,
    reference: Reference | None,
    pairs: str | None,
    region: str | None,
    k: int,
    options: VariantOptions,
) -> _Source:
    """Open the input, with a progress bar on a terminal."""
    if pairs is not None:
        bar = stack.enter_context(progress_bar(logger, "score-variants", "B", _size(pairs)))
        return _Source(pair_records(pairs, k, _counter(bar)), None, {}, input_digest(pairs), None, None)
    if reference is None:  # _check has refused that
        raise ValueError("a VCF file or region needs a genome")
    digest = {f"genome_{name}": value for name, value in input_digest(reference.path).items()}
    if region is not None:
        place = region_of_genome(region, reference)
        if options.picture is not None and place[2] - place[1] > _MOST_DRAWN:
            raise InputError(f"--picture draws up to {_MOST_DRAWN} nt; name a shorter --region")
        bar = stack.enter_context(progress_bar(logger, "score-variants", "site", place[2] - place[1]))
        records = _counted(region_records(reference, *place), bar)
        contigs = {place[0]: reference.lengths[place[0]]}
        return _Source(records, None, contigs, {**digest, "region": region}, place[2] - place[1], place)
    if vcf is None:
        raise ValueError("there is no input")
    bar = stack.enter_context(progress_bar(logger, "score-variants", "B", _size(vcf)))
    header, lines = read_vcf(vcf, _counter(bar))
    if options.overwrite_fields:
        header = header._replace(lines=strip_header(header.lines))
    else:
        refuse_fields(vcf, header)
    records = vcf_records(_without_our_fields(lines, options.overwrite_fields), reference, options.on_ref_mismatch, k)
    return _Source(records, header, {}, {**digest, **input_digest(vcf)}, None, None)


def _counter(bar: Any) -> Callable[[memoryview], object]:
    """Return a function that advances a progress bar by the bytes it is given."""
    return lambda content: bar.update(len(content))


def _counted(records: Iterable[Record], bar: Any) -> Iterator[Record]:
    """Iterate over records, and advance a progress bar by each of them."""
    for record in records:
        yield record
        bar.update(1)


def _size(path: str) -> int | None:
    """Return the size of a file in bytes; None if there is no such file."""
    return os.path.getsize(path) if os.path.isfile(path) else None


def _without_our_fields(lines: Iterable[Line], overwrite: bool) -> Iterator[Line]:
    """Iterate over lines; remove the fields of an earlier run if ``overwrite``, otherwise refuse lines with them."""
    for line in lines:
        if overwrite:
            line = line._replace(text=strip_info(line.text))
        else:
            refuse_info(line)
        yield line


def _background(path: str, most: int, reference: Reference, scorer: Scorer) -> Background:
    """Score the neutral sites of a BED file, ``most`` at most."""
    events = neutral_events(read_neutral(path, reference), reference, most)
    return measure_background(
        events,
        lambda chosen: score_events(
            scorer.model,
            scorer.tokenizer,
            chosen,
            scorer.rule,
            estimator=scorer.estimator,
            batch_size=scorer.batch_size,
        ),
        path,
    )


def _relevant(options: VariantOptions, kind: Format) -> dict[str, Any]:
    """Return the options that the scores depend on, and the format."""
    chosen = {
        name: value for name, value in asdict(options).items() if name not in ("picture", "batch_size", "overwrite")
    }
    chosen["effects"] = chosen["effects"] or []
    if options.background is not None:
        chosen["background"] = input_digest(options.background)
    return {**chosen, "format": kind}


_MEANINGS = {
    "llr": "log-likelihood ratio ALT/REF in nats, {estimator}, mean of frames and strands; negative: REF is preferred",
    "llr_fwd": "HFG_LLR of the forward strand",
    "llr_rev": "HFG_LLR of the reverse strand",
    "llr_calibrated": "HFG_LLR minus its mean at neutral sites of the same 5-mer and change",
    "llr_quantile": "share of neutral sites with no larger HFG_LLR",
    "pll_delta": "insertions, deletions, long substitutions: change of the mean log-probability per nt in nats",
    "emb_l2": "Euclidean distance of the mean hidden states of ALT and REF",
    "emb_cos": "cosine distance of the mean hidden states of ALT and REF",
    "influence": "mean absolute change of the log-probability of the other tokens",
    "attention_change": "Frobenius norm of the change of the last layer's attention",
}


def _fields(scorer: Scorer) -> dict[str, str]:
    """Return the INFO field of each column of scores."""
    found: dict[str, str] = {}
    for column in scorer.columns():
        name = PREFIX + "".join(one if one.isascii() and one.isalnum() else "_" for one in column).upper()
        while name in found.values():  # classes that differ by other characters only
            name += "_"
        found[column] = name
    return found


def _header(kind: Format, source: _Source, scorer: Scorer, model: str, digest: str) -> str:
    """Return the text before the first record of the output."""
    if not kind.startswith("vcf"):
        return "\t".join([*BEFORE, *scorer.columns(), *AFTER]) + "\n"
    from .. import __version__

    lines = ["##fileformat=VCFv4.2\n"]
    lines += [f"##contig=<ID={name},length={length}>\n" for name, length in source.contigs.items()]
    header = source.header or Header([*lines, "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"], 8, [])
    rule, sites = scorer.rule, scorer.sites_per_forward
    declared = {}
    for column, name in _fields(scorer).items():
        # A class name may hold braces, so it is not a format.
        known = _MEANINGS.get(column, "").format(estimator=scorer.estimator)
        meaning = known or column.replace("_", " ", 2)  # "delta_logit_a_b": delta logit a_b
        meaning = meaning.replace("\\", "\\\\").replace('"', '\\"')
        declared[name] = f'Number=A,Type=Float,Description="{meaning}"'
    declared[f"{PREFIX}FLAG"] = 'Number=A,Type=String,Description="why an allele has no score, or how it was scored"'
    how = "exact" if sites == 1 else f"sites_per_forward={sites}: approximate"
    facts = {
        "hf_genomicsVersion": __version__,
        "hf_genomicsCommand": f"score-variants window={rule.length} frames={len(rule.frames)} {how}",
        "hf_genomicsModel": f"<name={model},sha256={digest}>",
    }
    return "".join(add_header(header, declared, facts))


def _run(
    source: _Source, scorer: Scorer, table: GrowingScores, kind: Format, options: VariantOptions
) -> dict[str, Any]:
    """Score the records, some hundreds at a time, and write them."""
    order, seen, drawn = _Order(), 0, []
    fields, columns = _fields(scorer), scorer.columns()
    while chunk := list(islice(source.records, _RECORDS_AT_ONCE)):
        order.add(chunk)
        seen += len(chunk)
        if seen <= table.num_records:  # an interrupted run wrote them
            continue
        scored = scorer.score(chunk)
        if options.picture is not None:
            drawn += scored
        plain = source.header is None
        text = vcf_text(scored, fields, plain) if kind.startswith("vcf") else table_text(scored, columns)
        table.write(text, scored)
    if options.picture is not None and source.region is not None:
        # The last column of a fine-tuned model is the change of the logit of its last class.
        _draw(options.picture, drawn, source.region, "llr" if scorer.is_masked else columns[-1])
    table.finish(is_sorted=order.is_sorted)
    return _summary(table.counts, seen)


class _Order:
    """Whether records are sorted by position, contig by contig."""

    def __init__(self) -> None:
        self.is_sorted, self._last, self._seen = True, ("", 0), {""}

    def add(self, records: Sequence[Record]) -> None:
        """Check the order of further records."""
        for record in records:
            contig, position = self._last
            if record.chrom != contig:
                self.is_sorted &= record.chrom not in self._seen
                self._seen.add(record.chrom)
            elif record.position < position:
                self.is_sorted = False
            self._last = (record.chrom, record.position)


def _summary(counts: dict[str, int], records: int) -> dict[str, Any]:
    """Return the counts that a run reports at its end."""
    # "" is a single substitution; `Flag` in `sites` explains the other flags of alleles with a score.
    scored = {flag: count for flag, count in counts.items() if flag in ("", "mnv", "mnv_long", "indel", "several")}
    skipped = {flag: count for flag, count in counts.items() if flag not in scored}
    result: dict[str, Any] = {"records": records, "alleles_scored": sum(scored.values())}
    if flags := {flag: count for flag, count in scored.items() if flag}:
        result["scored_with_flag"] = flags
    if skipped:
        result["not_scored"] = skipped
    return result


def _draw(path: str, scored: list[ScoredVariant], region: tuple[str, int, int], column: str) -> None:
    """Draw the heat map of a region."""
    llr = np.full((4, len(scored)), np.nan)
    for place, (record, scores, _) in enumerate(scored):
        for allele, values in zip(record.alleles, scores, strict=True):
            if allele.alt in "ACGT":
                llr["ACGT".index(allele.alt), place] = values.get(column, np.nan)
    label = "LLR (nats)" if column == "llr" else f"change of the logit of {column.removeprefix('delta_logit_')}"
    draw_region(path, llr, "".join(one.record.ref for one in scored), region[0], region[1], label)
