"""Run the command line: ``hf-genomics VERB --config x.yaml --section.key value``.

A verb is a library function; options.py reads its arguments. A mistake of the user's ends with exit code 2 and one
line; any other error ends with exit code 1, its traceback, and a line that asks for a report. Log lines of the first
seconds are held back (`CommandLog`): if the command ends with a mistake of the user's, they are dropped, so that its
line stands alone.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.metadata
import io
import json
import logging
import math
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import InputError, StoppedError, line_for_user, lines_for_user, private_run
from .io.progress import clear_bars, command_log, take_over_logs
from .io.streams import is_stream
from .options.keys import completion_of
from .options.run_verb import run_verb
from .sequence import did_you_mean
from .stopping import stop_at_signals

VERBS = {
    "download": "fetch genomes from NCBI by accession",
    "check": "describe sequence files or tables, and list everything that would be rejected",
    "table": "turn the features of a genome into a table of labelled sequences, with matched negatives",
    "prepare": "turn sequence files into a genome store",
    "train-bpe": "train a byte-pair encoding on a genome store",
    "pretrain": "pretrain a model on a genome store",
    "finetune": "fine-tune a pretrained model on labelled sequences",
    "evaluate": "score a fine-tuned model on labelled sequences",
    "probe": "show within a minute what a model's vectors know about labels, without fine-tuning",
    "predict": "predict classes or values for the sequences of a file",
    "embed": "turn the sequences of a file into vectors, with a picture",
    "explain": "compute how much every nucleotide contributes to a prediction, with pictures",
    "motifs": "find the motifs that a fine-tuned model looks for",
    "demo": "show a page in the browser on which a model can be tried",
    "region-picture": "draw genes, tracks, scores and variants of a region of a genome",
    "score-variants": "score the variants of a VCF file, of a region or of pairs of sequences",
    "convert": "convert a DNABERT folder, or a model back to one",
    "card": "write or check the card of a model folder",
    "push": "upload a model folder to the Hub",
    "quickstart": "run everything on the bundled genomes within minutes, with a report",
    "label-scarcity": "compare pretrained models with baselines for fewer and fewer labelled genomes",
}
# Verbs that keep what an interrupted run has done; without --resume, the next run would delete it.
_RESUMABLE = ("pretrain", "finetune", "predict", "embed", "explain", "motifs", "score-variants")
#: How often a thread that waits for another one looks before it sleeps, as GOMP_SPINCOUNT (benchmarks/contention.py).
SPIN_COUNT = "10000"
#: What to do about an error of the operating system, by its number. Files are opened all over the package, so all of
#: these are treated as mistakes of the user's; --debug shows where they were raised.
_REMEDIES = {
    errno.ENOENT: "check that it exists, or name another place",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EEXIST), "name another place"),
    **dict.fromkeys((errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG), "name another place"),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG), "make room or write to another place"),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "the disk or network failed; start again, or name another place"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit on open files (ulimit -n)"),
}
# Scores that depend on which of two classes is the positive one.
_OF_POSITIVE = ("f1", "auprc")
# Seconds. Launchers check their processes several times a second, so they end a waiting process long before.
_WAIT_FOR_LAUNCHER = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb.

    Args:
        arguments: words of the command line after the program's name; by default the words of this process.

    Returns:
        The exit code: 0 for success, 2 for a mistake of the user's, 1 for any other error, 128 + n after signal n.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = _take("--debug", words) or os.environ.get("HF_GENOMICS_DEBUG") == "1"
    private = words[:1] != ["push"] and _take("--private", words)  # `push --private true` is about the repository
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0
    if words[0] == "--version":
        from . import __version__

        sys.stdout.write(f"hf_genomics {__version__}\n")
        return 0
    if words[0] == "--completion":
        functions = (getattr(importlib.import_module(__package__), verb.replace("-", "_")) for verb in VERBS)
        sys.stdout.write(completion_of(functions))
        return 0
    again = " with --resume auto" if words[0] in _RESUMABLE and not _name_stream(words) else ""
    _share_cores()
    with private_run(private):  # also while errors are reported
        try:
            with stop_at_signals(f"start it again{again}"):
                code = _run(words[0], words[1:])
            _leave_other_processes()
            return code
        except KeyboardInterrupt:
            return _complain("interrupted", code=130)
        except BrokenPipeError:
            return _end_quietly()
        except (Exception, StoppedError) as error:  # StoppedError, like KeyboardInterrupt, is not an Exception
            return _end(error, debug)
        finally:
            if log := command_log():
                log.show_held()


def _leave_other_processes() -> None:
    """End the connections to the other processes of a launcher.

    If a process just exits, threads of torch's gloo backend may abort it, and the launcher reports a failure.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def _take(flag: str, words: list[str]) -> bool:
    """Remove a flag that every verb has, with a "true" or "false" after it, if any; return whether it is set."""
    words[:] = [part for word in words for part in (word.split("=", 1) if word.startswith(f"{flag}=") else [word])]
    if flag not in words:
        return False
    place = words.index(flag)
    value = "".join(words[place + 1 : place + 2]).lower()
    del words[place : place + (2 if value in ("true", "false") else 1)]
    return value != "false"


def _name_stream(words: list[str]) -> bool:
    """Return whether any of the words names standard output, a pipe or a device, whose rows cannot be continued."""
    values = [word.rpartition("=")[2] for word in words]
    return any(value == "-" or is_stream(Path(value)) for value in values)


def _share_cores() -> None:
    """Let threads that wait for each other spin for a short while only, then sleep, unless the user chose otherwise.

    Threads that spin for long, as they do by default with GNU OpenMP, waste a core that other programs need; threads
    that never spin are slow on a quiet machine (benchmarks/contention.py). OpenMP reads the variable when torch is
    loaded, which is later than this.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT


def _run(verb: str, words: list[str]) -> int:
    """Run a verb, and write its result to standard output."""
    if verb not in VERBS:
        raise InputError(f"no verb {verb!r}{did_you_mean(verb, VERBS)}; see hf-genomics --help")
    _set_up_logging()
    function = getattr(importlib.import_module(__package__), verb.replace("-", "_"))
    result = run_verb(function, words)
    if isinstance(result, dict | str) and _rank() == 0:
        if log := command_log():
            log.show_held()  # the result stands last
        # `evaluate` and `finetune` return a ScoreReport, which has a text for the terminal.
        screen = result.screen() if hasattr(result, "screen") else None
        sys.stdout.write(result if isinstance(result, str) else screen or _table(result))
    if hasattr(result, "show"):  # the report of `check`
        _show(result)
        return _complain(result.rejection) if result.rejection else 0
    return 0


def _show(report: Any) -> None:
    """Write a report to standard output; at full width unless that is a terminal, because programs read whole lines."""
    from rich.console import Console

    file = sys.stderr if report.is_on_stdout else sys.stdout  # a JSON file on stdout stands alone
    # Without a height, rich ignores the width and takes 80, if TERM is "dumb" and FORCE_COLOR is set.
    report.show(Console(file=file) if file.isatty() else Console(file=file, width=1 << 20, height=25))


# Errors.


def _end(error: BaseException, debug: bool) -> int:
    """Report an error in one line, or with its traceback if it is not the user's mistake; return the exit code."""
    message, code = _message(error)
    if debug or not message:
        if log := command_log():
            log.show_held()
        sys.stderr.write(lines_for_user("".join(traceback.format_exception(error))))
    if message:
        return _complain(message, code)
    sys.stderr.write(
        f"hf-genomics: an unexpected {type(error).__name__}, which is probably a bug in hf_genomics and not in your "
        f"input; please report it{_where_to_report()} with the lines above and your command\n"
    )
    return 1


def _end_quietly() -> int:
    """Return the exit code after a broken pipe: the reader of the output, such as ``head``, has ended."""
    with contextlib.suppress(OSError, ValueError):  # otherwise Python reports the pipe again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + 13  # as if ended by SIGPIPE


def _message(error: BaseException) -> tuple[str, int]:
    """Return the line and the exit code for an error that users can correct; "" and 1 for any other error."""
    if isinstance(error, InputError):
        return str(error), 2
    if isinstance(error, StoppedError):
        return str(error), error.code
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        return f"{_file_of(error)}: {error.strerror}; {_REMEDIES[error.errno]}", 2
    return "", 1


def _file_of(error: OSError) -> str:
    """Return the file that an error names; if it names none, guess from the variables where it was raised.

    An error that a disk is full names no file, for example. The guess is the first open file or Path among the local
    variables, from the innermost function outwards.
    """
    if error.filename is not None:
        return os.fsdecode(error.filename) if isinstance(error.filename, bytes) else str(error.filename)
    for frame, _ in reversed([*traceback.walk_tb(error.__traceback__)]):
        owner = frame.f_locals.get("self")
        for value in (*frame.f_locals.values(), *(vars(owner).values() if hasattr(owner, "__dict__") else ())):
            if isinstance(value, io.IOBase) and isinstance(getattr(value, "name", None), str):
                return value.name  # type: ignore[attr-defined]
            if isinstance(value, Path):
                return str(value)
    return "output"


def _where_to_report() -> str:
    """Return " at ADDRESS" with the package's page for issues, or "" if the package's metadata names no such page."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for entry in importlib.metadata.metadata(__package__).get_all("Project-URL") or []:
            label, _, address = entry.partition(", ")
            if label.lower() in ("issues", "bug tracker"):
                return f" at {address}"
    return ""


def _complain(message: str, code: int = 2) -> int:
    """Write one line that says why this process ends, and return the exit code.

    Several processes usually fail for the same reason, and then only the first one (rank 0) should report it. When the
    first one ends, the launcher ends the other ones, so these wait before they report anything. A process that is still
    alive after the wait has an error of its own, and reports it.

    A StoppedError has code 1 if another process has ended before this one. Then the first process waits after its
    report, too: otherwise the launcher might take it for the process that ended first.

    Args:
        message: the line, without the program's name.
        code: exit code: 2, 130, or that of a StoppedError.

    Returns:
        ``code``.
    """
    if _rank() > 0:
        _wait_to_be_ended()
    message = line_for_user(message)
    clear_bars()
    if (log := command_log()) and code == 2:
        log.drop()  # what was logged before a mistake was found would hide the line that names it
    elif log:
        log.show_held()
    with contextlib.suppress(OSError):  # the terminal may be closed: SIGHUP
        sys.stderr.write(f"hf-genomics: error: {message}\n")
    if code == 2:
        _write_for_launcher(f"hf-genomics: error: {message}")
    elif code == 1 and _rank() == 0:
        _wait_to_be_ended()
    return code


def _wait_to_be_ended() -> None:
    """Wait until the launcher ends this process, for ten seconds at most."""
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(_WAIT_FOR_LAUNCHER)


def _write_for_launcher(line: str) -> None:
    """Write a line where torch.distributed.run and accelerate look for it: their report at the end quotes it."""
    file = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if not file:
        return
    # Torch's ErrorHandler.record_exception would write this file in the same format, but always with the traceback of
    # the error. The launcher prints the value of py_callstack, and the line is enough to explain a mistake of the
    # user's.
    facts = {"message": line, "extraInfo": {"py_callstack": line, "timestamp": str(int(time.time()))}}
    # If the file cannot be written, the error must still be reported on standard error.
    with contextlib.suppress(OSError), open(file, "w", encoding="utf-8") as report:
        json.dump({"message": facts}, report)


# Processes and output.


def _rank() -> int:
    """Return the number of this process among the processes of a run; 0 if there is only one."""
    return int(os.environ.get("RANK", "0"))


def _set_up_logging() -> None:
    """Log to standard error, draw progress bars only in a terminal, and do not report local files as downloads."""
    os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")  # datasets would count local files as downloads on the Hub
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers draws bars for weights
    take_over_logs()
    # Of several processes only the first one logs its progress; warnings come from each.
    logging.getLogger("hf_genomics").setLevel(logging.INFO if _rank() == 0 else logging.WARNING)


def _table(result: dict[str, Any]) -> str:
    """Return the numbers of a result as lines of text, with the lines of nested results indented."""
    lines = []
    for name, value in result.items():
        if value == {}:
            lines.append(f"{name}: none")
        elif isinstance(value, dict):
            lines += [f"{name}:"] + [f"  {line}" for line in _table(value).splitlines()]
        else:
            of_class = f" of {result['positive']}" if name in _OF_POSITIVE and "positive" in result else ""
            if isinstance(value, float):
                value = f"{value:.4f}" if math.isfinite(value) else "none"
            lines.append(f"{name}{of_class}: {value}")
    return "\n".join(lines) + "\n"


def _overview() -> str:
    """Return the help of the command line as a whole."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {what}" for verb, what in VERBS.items())
    return (
        f"usage: hf-genomics VERB [--config x.yaml] [--key value ...] [--debug] [--private]\n\n{verbs}\n\n"
        "hf-genomics VERB --help lists the options of a verb, with an example; --help all lists every one.\n"
        "--debug shows the traceback of an error. --private hides the names of records in logs and errors, draws no\n"
        "sequence, and writes files that only you can read. --completion prints what makes a shell complete options.\n"
    )
