"""Messages with advice that no command line of the tables follows, each with the reason; and what is no message."""

from __future__ import annotations

#: Texts that are no messages, although options seem to stand in them.
NO_MESSAGES = {"--tf32 requires"}  # what transformers says, to be recognised

_NETWORK = "needs the servers of NCBI, which no test may reach"
_PYTHON = "the parser of the command line refuses such a value first; callers from Python see it"
_LIST = "of a list of sequences, which only Python can pass"
_MACHINE = "needs a GPU, several processes, a disk or a permission that the tests do not have"
_PACKAGE = "needs a package that is not installed, or one to be missing; the extra that it names exists"
_STORE = "needs a labelled genome store; tests/labelled/test_windows.py"
_FILE = "asks for another file or an edit, after which it is read as any other file is"
_SERVER = "of a page in a browser; tests/demo_page"
_RUN = "of a run that was interrupted, or finished with other settings; tests of the verb continue such runs"
_NUCLEOTIDES = "of labels per nucleotide, pairs, parts or tracks; tests/finetuning/test_settings.py"
_PRIVATE = "of private runs; tests/privacy"

_SWEEP = "of a sweep's values, which stand in a list: asks for another one"

#: Module below the package, or its room, and a part of the message ("" for all) -> why no test follows its advice.
UNREACHED: dict[tuple[str, str], str] = {
    ("cli.py", "no verb"): "a verb that does not exist has no keys; tests/test_cli.py tries the verb that is suggested",
    ("checks/check.py", "no file given"): _FILE,
    ("demo_page", ""): _SERVER,
    ("downloads", ""): _NETWORK,
    ("embedding/embed.py", "a list of sequences"): _LIST,
    ("jobs/seeds.py", "has no spread"): "asks for another seed, which only the user can choose",
    ("jobs/sweep.py", "has changed since"): _RUN,
    ("jobs/sweep.py", "never evaluated"): _RUN,
    ("jobs/sweep.py", "is not one of"): _SWEEP,
    ("finetuning/several_runs.py", "without a launcher"): _MACHINE,
    ("finetuning/several_runs.py", "holds a finished run"): _RUN,
    ("finetuning/several_runs.py", "lies in"): _RUN,
    ("finetuning/run.py", "scored with other settings"): _RUN,
    ("finetuning/plan.py", "choose options by a sweep first"): "asks for two commands, one after the other",
    ("evaluation/baseline.py", "baselines:"): _PYTHON,
    ("evaluation/evaluate.py", "the labels are"): _FILE,
    ("evaluation/evaluate.py", "data.split gives no rows"): _PYTHON,
    ("genome_tables/features.py", "features of several types"): _FILE,
    ("genome_tables/features.py", "place a window"): "asks for a length that only the user knows",
    ("genome_tables/features.py", "Biopython"): _PACKAGE,
    ("genome_tables/table.py", "negatives must be"): _PYTHON,
    ("genomes/metadata.py", "must be"): _PYTHON,
    ("genomes/sampling.py", ""): "windows of a store; the command line names the key in another way, and is followed",
    ("genomes/splits.py", ""): "of functions for Python; the verbs that call them check their options first",
    ("genomes/store.py", "storage must be"): _PYTHON,
    ("genomes/store.py", "fasta must be a list"): _PYTHON,
    ("sharing/dnabert.py", "to must be"): _PYTHON,
    ("training/bpe.py", "max_nt must be"): "tests/training/test_bpe.py; asks for a number that only the user knows",
    ("training/bpe.py", "vocab_size must be at most"): "tests/training/test_bpe.py; asks for a number as well",
    ("genomes/store.py", "damaged store"): _FILE,
    ("genomes/store.py", "holds a store with other content"): "tests/genomes/test_store.py replaces such a store",
    ("genomes/store.py", "no column 'split'"): "tests/genomes/test_store.py prepares such a store again",
    ("genomes/store.py", "no genome store here"): _FILE,
    ("genomes/store.py", "to_dataset"): _PYTHON,
    ("genomes/windows.py", "every window"): _STORE,
    ("genomes/windows.py", "has no size"): _PYTHON,
    ("loading/adapters.py", "base"): _FILE,
    ("inference/growing_table.py", "the interrupted run"): _RUN,
    ("loading", ""): _FILE,
    ("inference/predict.py", "output is not set"): _FILE,
    ("inference/predict.py", "a list of sequences"): _LIST,
    ("inference/predict.py", "is a pipe"): _FILE,
    ("inference/predictions.py", "labels nucleotides"): _NUCLEOTIDES,
    ("inference/scores.py", "batch_size"): _PYTHON,
    ("inference/tracks.py", "classifies nucleotides"): _NUCLEOTIDES,
    ("genome_tables/features.py", "must be"): _PYTHON,
    ("interpretation/explain.py", "was written with"): _RUN,
    ("interpretation/scoring.py", "must be one of"): _PYTHON,
    ("interpretation/explain.py", "holds a finished run"): _RUN,
    ("interpretation/explain.py", "the same region"): _FILE,
    ("interpretation/explain.py", "same name"): _FILE,
    ("interpretation/targets.py", "target is not set"): "of a model of several values; tests/interpretation",
    ("io", ""): _FILE,
    ("labelled/columns.py", ""): _NUCLEOTIDES,
    ("labelled/data.py", ""): _FILE,
    ("labelled/labels.py", "is empty in every row"): _FILE,
    ("labelled/sequences.py", ""): _FILE,
    ("labelled/tables.py", "a sequence file has no columns"): _FILE,
    ("labelled/windows.py", ""): _STORE,
    ("motif_finding/meme.py", ""): _FILE,
    ("motif_finding/motifs.py", "target is not set"): _PYTHON,
    ("motif_finding/motifs.py", "another"): _RUN,
    ("options/values.py", "output_dir is not set"): _FILE,
    ("options/words.py", "given by name and also without"): "asks to write the same file once",
    ("options/keys.py", "follows"): "tests/test_cli.py sets the key that is named",
    ("options/run_verb.py", "nested too deeply"): _FILE,
    ("options/values.py", "must not be null"): "the default that it names is what the other command lines have",
    ("options/values.py", "must be a finite number"): "asks for any number",
    ("options/yaml_files.py", "works in YAML files only"): "of a name of version 0.1; tests/test_former_names.py",
    ("privacy", ""): _PRIVATE,
    ("finetuning/head.py", "dp_"): _PRIVATE,
    ("finetuning/trained_weights.py", "dp_epsilon"): _PRIVATE,
    ("reports/card_file.py", ""): _FILE,
    ("runs", ""): _RUN,
    ("sequence_files/reference.py", "both named"): _FILE,
    ("studies", ""): "of a recipe of the study, which asks for another number there; tests/studies",
    ("training/arguments.py", "needs trainer.metric_for_best_model"): _PYTHON,
    ("training/arguments.py", "needs evaluations"): "tests/training/test_arguments.py",
    (
        "training/arguments.py",
        "checkpoint of every evaluation",
    ): "asks for a number of the user's; tests/training/test_arguments.py",
    ("training/arguments.py", "prediction_loss_only"): "tests/training/test_arguments.py",
    ("training/arguments.py", "needs a GPU"): _MACHINE,
    ("training/arguments.py", "fsdp"): _MACHINE,
    ("training/arguments.py", "optim_args"): "asks for another pair; tests/training/test_arguments.py",
    ("training/arguments.py", "lr_scheduler_kwargs"): "asks for other settings; tests/training/test_arguments.py",
    ("training/arguments.py", "warmup_steps"): "asks for a whole number or a share",
    ("finetuning/splits.py", "asks for validation"): "followed where there is a table to train on",
    ("finetuning/splits.py", "needs a whole model"): _MACHINE,
    ("finetuning/plan.py", "parts"): _NUCLEOTIDES,
    ("training/pretrain.py", "tokenizer and model"): _PYTHON,
    ("finetuning/settings.py", ""): _NUCLEOTIDES,
    ("finetuning/trained_weights.py", "lora"): _MACHINE,
    ("variants/score_variants.py", ""): "tests/variants/test_score_variants.py",
}
