"""Run many jobs, each in a process of its own; commands that are started on the same folder share the jobs.

A job is finished once its results exist and its process has removed the lock file in the folder `run`; it is never run
again. While a command runs a job, it also locks the folder of the job, so that no other command takes it. The system
releases that lock when the command ends, even if it was killed, and the next command takes the job.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..runs.output_folder import LOCK, locked

logger = logging.getLogger(__name__)

_PAUSE = 0.5  # seconds between two looks for a job that others have left, or that has become ready
_MARK = "hf-genomics: error: "  # a process begins the line that reports its error with this
#: File in the folder of a job: the recipe that its process reads.
RECIPE = "recipe.yaml"
#: Keys that may change between two calls: the folders may have been moved.
_PATHS = {"pretrained", "output_dir", "trainer.output_dir", "data.store"}


@dataclass(frozen=True)
class Job:
    """A process to run once.

    Attributes:
        folder: folder of the job; its process writes to the folder `run` in it, and its output goes to log.txt.
        command: builds the command line just before the job starts; it may write to the folder.
        needs: job that must be finished before, or None.
        kind: jobs of one kind are expected to take equally long.
        describe: returns the result of a finished job in a few words.
        recipe: returns the settings of the job; None if it has none.
        forgive: takes the message of a failed process, and returns whether the job counts as finished all the same; it
            then writes metrics.json. None if every failure is an error.
    """

    folder: Path
    command: Callable[[], list[str]]
    needs: Job | None = None
    kind: object = None
    describe: Callable[[], str] = str
    recipe: Callable[[], dict[str, Any]] | None = None
    forgive: Callable[[str], bool] | None = None

    @property
    def run(self) -> Path:
        """Folder of the results."""
        return self.folder / "run"

    @property
    def finished(self) -> bool:
        """Whether the job is finished: its results exist, without the lock of a process that writes or was killed."""
        return (self.run / "metrics.json").exists() and not (self.run / LOCK).exists()


def share_work(jobs: Sequence[Job], workers: int, *, minutes: float | None = None, devices: Sequence[str] = ()) -> None:
    """Run all jobs that are not finished, several at a time, and wait for those that other commands run.

    Args:
        jobs: the jobs, the most urgent first.
        workers: number of processes at a time.
        minutes: start no job after this time; None for no limit.
        devices: names of GPUs for CUDA_VISIBLE_DEVICES, one for each worker in turn; empty to leave the variable alone.

    Raises:
        InputError: if a job fails because of a mistake by the user, or a signal ends it. Jobs that are already running
            are finished first.
        RuntimeError: if a job fails for another reason.
    """
    end = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    board = _Board(jobs, workers, end)
    with ThreadPoolExecutor(workers) as pool:
        threads = [
            pool.submit(board.work, devices[slot % len(devices)] if devices else None) for slot in range(workers)
        ]
        try:
            for thread in threads:
                thread.result()
        except BaseException as error:
            # After an error, running jobs may finish. A signal, which is not an Exception, ends them at once.
            board.stop(kill=not isinstance(error, Exception))
            raise


class _Board:
    """The jobs that are left, and those that this command runs.

    Args:
        jobs: all jobs.
        workers: number of processes at a time.
        end: time.monotonic() after which no job is started.
    """

    def __init__(self, jobs: Sequence[Job], workers: int, end: float) -> None:
        self.jobs, self.workers, self.end = jobs, workers, end
        self.mutex, self.stopped = threading.Lock(), threading.Event()
        self.running: dict[Path, subprocess.Popen | None] = {}  # folder of the job -> its process
        self.seconds: dict[object, list[float]] = {}  # kind -> how long its jobs took

    def work(self, device: str | None) -> None:
        """Run one job after another until none is left."""
        while not self.stopped.is_set() and time.monotonic() < self.end:
            with contextlib.ExitStack() as held:
                job, left = self._take(held)
                if job is None and not left:
                    return
                if job is None:
                    self.stopped.wait(_PAUSE)
                    continue
                try:
                    self._run(job, device)
                except BaseException:
                    self.stopped.set()
                    raise
                finally:
                    with self.mutex:
                        self.running.pop(job.folder, None)

    def stop(self, *, kill: bool) -> None:
        """Start no further job; with ``kill``, also end those that run."""
        self.stopped.set()
        with self.mutex:
            for process in self.running.values() if kill else ():
                if process is not None:
                    process.terminate()

    def _take(self, held: contextlib.ExitStack) -> tuple[Job | None, bool]:
        """Lock the first job that can be run, and return it and whether any job is left at all."""
        left = False
        with self.mutex:
            for job in self.jobs:
                if job.finished:
                    continue
                left = True
                if job.folder in self.running or (job.needs and not job.needs.finished):
                    continue
                job.folder.mkdir(parents=True, exist_ok=True)
                try:
                    held.enter_context(locked(job.folder))
                except InputError:  # another command runs it
                    continue
                if not job.finished:  # it may have been finished just before the lock was released
                    self.running[job.folder] = None
                    return job, True
        return None, left

    def _run(self, job: Job, device: str | None) -> None:
        """Run a job and wait for it."""
        # Without debug mode, the log ends with the line that `_failure` looks for, and not with a traceback.
        environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_GENOMICS_DEBUG": "0"}
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.workers)))
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        begin, log = time.monotonic(), job.folder / "log.txt"
        command = job.command()
        with open(log, "w", encoding="utf-8") as output:
            with self.mutex:
                if self.stopped.is_set():
                    return
                process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)  # noqa: S603
                self.running[job.folder] = process
            code = process.wait()
        if self.stopped.is_set() and code:  # `stop` ended it, or another job failed before and is reported
            return
        if code or not job.finished:
            failure = _failure(job, code, log)
            if job.forgive is None or not job.forgive(str(failure)):
                raise failure
        self._log_finished(job, time.monotonic() - begin)

    def _log_finished(self, job: Job, seconds: float) -> None:
        """Log a finished job, how many there are, and how long the others will take."""
        with self.mutex:  # while `_expected` reads the times, no other worker may add one
            self.seconds.setdefault(job.kind, []).append(seconds)
            self.running.pop(job.folder, None)
            # One that has ended at the same moment counts when its own line is logged.
            left = [other for other in self.jobs if not other.finished or other.folder in self.running]
            minutes = sum(map(self._expected, left)) / self.workers / 60
        rest = f"{_about(minutes)} left" if left else "none left"
        logger.info(
            "%d of %d: %s, %s (%.1f minutes); %s",
            len(self.jobs) - len(left), len(self.jobs), job.folder.name, job.describe(), seconds / 60, rest,
        )  # fmt: skip

    def _expected(self, job: Job) -> float:
        """Return how many seconds a job is expected to take: the mean of its kind, or of all."""
        known = self.seconds.get(job.kind) or [took for kind in self.seconds.values() for took in kind]
        return sum(known) / len(known)


def _about(minutes: float) -> str:
    """Return a time in words.

    >>> _about(0.4), _about(1.2), _about(12.7)
    ('less than a minute', 'about 1 minute', 'about 13 minutes')
    """
    whole = round(minutes)
    return "less than a minute" if minutes < 1 else f"about {whole} minute{'s' * (whole > 1)}"


def _failure(job: Job, code: int, log: Path) -> Exception:
    """Return the error of a job that failed, with the line by which its process explained itself."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    reason = next((line[len(_MARK) :] for line in reversed(lines) if line.startswith(_MARK)), None)
    if code == 2 and reason:
        return InputError(f"{job.folder}: {reason}")
    if code < 0 or code >= 128:
        number = -code if code < 0 else code - 128
        cause = ", which usually means that memory ran out: run fewer processes at a time" if number == 9 else ""
        ended = f"{job.folder}: its process was ended by signal {number}{cause}"
        return InputError(f"{ended}; start again to continue ({log})")
    return RuntimeError(f"{job.folder}: its process failed with exit code {code}; {log} says why")


def workers_of(asked: int) -> tuple[int, list[str]]:
    """Return the number of processes at a time, and the names of the GPUs that they use in turn.

    Args:
        asked: number of processes that the user asks for; 0 for one per GPU, or without a GPU one per core.
    """
    import torch  # here, because `hf-genomics --help` does not need it

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = [name for name in visible.split(",") if name] if visible is not None else None
    if not torch.cuda.is_available():
        devices = []
    elif devices is None:
        devices = [str(number) for number in range(torch.cuda.device_count())]
    return asked or len(devices) or os.cpu_count() or 1, devices


def check_unchanged(jobs: Iterable[Job], may_change: Collection[str] = _PATHS) -> None:
    """Check that every finished job was run with the recipe that it would have now.

    Args:
        jobs: the jobs; those without a recipe are not checked.
        may_change: keys that are not compared.

    Raises:
        InputError: naming the folder of a job, and the first of its options that has changed.
    """
    for job in jobs:
        if not job.finished or job.recipe is None:
            continue
        path = job.folder / RECIPE
        old, new = (dict(_flat(each)) for each in (yaml.safe_load(path.read_text(encoding="utf-8")), job.recipe()))
        changed = [key for key in {*old, *new} - {*may_change} if old.get(key) != new.get(key)]
        if changed:
            key = min(changed)
            raise InputError(
                f"{job.folder}: {key} was {old.get(key)} when this job was run, and is {new.get(key)} now; choose "
                f"another output_dir, or delete the folder {job.folder.name}"
            )


def _flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested settings as pairs of a dotted key and its value, such as ("trainer.seed", 1)."""
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return found
