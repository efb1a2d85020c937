"""What every test relies on: a sealed-off environment, one thread per worker, and where the data lies."""

from __future__ import annotations

import atexit
import base64
import contextlib
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import zlib
from pathlib import Path

import hypothesis
import pytest

REPO_ROOT = Path(__file__).resolve().parents[1]
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
ONE_PIXEL = base64.b64decode(  # a PNG file
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
LOOPBACK = {"localhost", "::1", "", None}


def seal_environment() -> None:
    """Keep the Hugging Face libraries off the network and out of the user's cache; they read this when imported."""
    for name, value in {
        "HF_HUB_OFFLINE": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "TOKENIZERS_PARALLELISM": "false",
        "MPLBACKEND": "Agg",
        "ORT_DISABLE_TELEMETRY": "1",
    }.items():
        os.environ.setdefault(name, value)
    if WORKER != "main":
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if "HF_HOME" not in os.environ:
        os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="hf_genomics_tests_")
        atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)
    # Workers share HF_HOME, but two that import the same remote code at once would write over each other.
    os.environ["HF_MODULES_CACHE"] = str(Path(os.environ["HF_HOME"]) / f"modules_{WORKER}")


seal_environment()
# A shell starts background processes with SIGINT ignored, and nohup ignores SIGHUP; the tests send both.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Wall-clock limits say more about who else uses the machine than about the code.
PATIENT = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("local", **PATIENT)
hypothesis.settings.register_profile("ci", derandomize=True, print_blob=True, **PATIENT)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")


def is_loopback(host: str | bytes | None) -> bool:
    """Tell whether ``host`` is this machine, without asking a name server."""
    name = host.decode() if isinstance(host, bytes) else host
    return name in LOOPBACK or name.startswith("127.") or name == socket.gethostname()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name gzip files by their content without the time they were made: all processes must name a test alike."""
    if isinstance(val, bytes) and val.startswith(b"\x1f\x8b"):
        return f"{argname}-gzip-{zlib.crc32(val[:4] + val[8:]):08x}"
    return None


@pytest.fixture(autouse=True)
def no_network(request, monkeypatch):
    """Fail the test that connects to, or looks up, any host but this one (unless it is marked ``network``)."""
    if request.node.get_closest_marker("network"):
        yield
        return
    attempts = []

    def guard(real, host_of):
        def guarded(*args, **kwargs):
            host = host_of(*args, **kwargs)
            if not is_loopback(host):
                attempts.append(host)
                # Not an Exception, so that no library can take it for a bad connection and carry on.
                pytest.fail(f"this test reaches for the network (host {host!r}); mark it `network` or keep it local")
            return real(*args, **kwargs)

        return guarded

    def peer(sock, address):
        return address[0] if sock.family in (socket.AF_INET, socket.AF_INET6) else None  # Unix sockets are local

    for method in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, method, guard(getattr(socket.socket, method), peer))
    monkeypatch.setattr(socket, "getaddrinfo", guard(socket.getaddrinfo, lambda host, *_, **__: host))
    yield
    if attempts:  # a background thread tried it: its failure would not reach the test by itself
        pytest.fail(f"this test reached for the network (hosts {attempts}); mark it `network` or keep it local")


@pytest.fixture(autouse=True)
def one_thread_per_worker():
    """Keep the workers from fighting over the cores, should torch have been imported before OMP_NUM_THREADS was set."""
    if WORKER != "main" and "torch" in sys.modules and sys.modules["torch"].get_num_threads() != 1:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True)
def quiet_again():
    """Reset the level of the package's logger, which the command line sets for its process."""
    yield
    logging.getLogger("hf_genomics").setLevel(logging.NOTSET)


@pytest.fixture
def one_parser_per_verb(monkeypatch):
    """Build the parser of a verb once, which takes half of the time of a refusal."""
    from advice import build_parser

    from hf_genomics.options import run_verb

    monkeypatch.setattr(run_verb, "build_parser", build_parser)


@pytest.fixture
def empty_pictures(monkeypatch):
    """Write pictures of one pixel, because drawing takes half of the time of a short run with its evaluation."""
    from hf_genomics.evaluation import pictures

    monkeypatch.setattr(pictures, "_save", lambda _, path: Path(path).write_bytes(ONE_PIXEL))


def hold_lock(folder, ready, release):
    """Hold the lock of a folder until told to release it."""
    from hf_genomics.runs.output_folder import working_folder

    with working_folder(folder):
        ready.set()
        release.wait(60)


@pytest.fixture
def held_elsewhere():
    """A function that lets another process hold the lock of a folder within a block, and gives its process id."""

    @contextlib.contextmanager
    def hold(folder):
        fork = multiprocessing.get_context("fork")
        ready, release = fork.Event(), fork.Event()
        other = fork.Process(target=hold_lock, args=(folder, ready, release))
        other.start()
        try:
            assert ready.wait(60)
            yield other.pid
        finally:
            release.set()
            other.join()

    if os.name == "nt":
        pytest.skip("Windows has no such locks")
    return hold


@pytest.fixture(scope="session")
def repo_root():
    """Folder that holds pyproject.toml."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def data_dir():
    """Folder with the real genomes (README.md there); the test is skipped where it is absent."""
    folder = Path(os.environ.get("HF_GENOMICS_DATA") or REPO_ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no genome data in {folder}; set HF_GENOMICS_DATA to the folder that holds it")
    return folder


@pytest.fixture
def tokenizer():
    """The tokenizer of the base set-up: 6-mers at stride 1."""
    from hf_genomics import KmerTokenizer

    return KmerTokenizer(k=6, stride=1)


@pytest.fixture
def tokenizer_stride3():
    """The tokenizer of the stride3 set-up: 6-mers at stride 3."""
    from hf_genomics import KmerTokenizer

    return KmerTokenizer(k=6, stride=3)


@pytest.fixture
def tiny_config():
    """A model of 2 layers and 32 hidden units over 3-mers, without dropout; each test may change its own."""
    from hf_genomics import KmerBertConfig

    return KmerBertConfig(
        k=3,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


@pytest.fixture
def transformers_log(caplog):
    """What transformers' loggers say, ours in portable files among them, as one string at the end of the call."""
    from transformers.utils import logging

    logging.enable_propagation()
    logging.warning_once.cache_clear()
    yield caplog
    logging.disable_propagation()


@pytest.fixture
def work(tmp_path, monkeypatch):
    """An empty folder to run the command line in; what that sets for its process is put back."""
    from transformers.utils import logging as transformers_logging

    monkeypatch.chdir(tmp_path)
    for name in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_UPDATE_DOWNLOAD_COUNTS"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # what the variable does for a process that starts with it
    yield tmp_path
    if bars:
        transformers_logging.enable_progress_bar()


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Paths of files and folders, good and bad, by the names that stand for them in command lines."""
    from places import make_places

    return make_places(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="session")
def nursery():
    """One process that has imported torch and forks the runs."""
    from tiny_runs import Nursery

    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory):
    """A genome store of four made-up contigs."""
    from tiny_runs import write_genomes

    return write_genomes(tmp_path_factory.mktemp("tiny_genomes"))


@pytest.fixture
def start(nursery, tiny_store, tmp_path):
    """Run the tiny pretraining; returns its exit code, or those of several processes, and what they logged."""

    def call(name="out", processes=1, job=(), **options):
        log = tmp_path / f"{name}.log"
        options = {"store": str(tiny_store), "output": str(tmp_path / name)} | options
        log.touch()
        codes = nursery.run({"options": options, "log": str(log), **dict(job)}, processes=processes)
        text = log.read_text()
        log.unlink()
        return (codes[0] if processes == 1 else codes), text

    return call
