"""Fuzzers of both sides of the agent's protocol, and of images; each runs for a bounded time.

``HYPER_FUZZ_SECONDS`` (60) is how long each of them runs.  An input that is found
is left in tests/fuzz/found; the fuzzer runs it alone when it is given its name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
FOUND = HERE / "found"
SECONDS = int(os.environ.get("HYPER_FUZZ_SECONDS", "60"))
HOST = ("guest", "log", "layer", "documents")
AGENT = ("frame", "request")
# The agent's fuzzer of requests keeps what requests have allocated.
_LIMITS = ("-max_len=8192", "-timeout=60", "-rss_limit_mb=3000", "-detect_leaks=0")


def fuzz(name: str, command: list[str], corpus: Path) -> subprocess.CompletedProcess[str]:
    """Run one fuzzer, which adds to *corpus*."""
    corpus.mkdir(parents=True, exist_ok=True)
    shutil.copytree(HERE / "corpus" / name, corpus, dirs_exist_ok=True)
    return subprocess.run(
        [
            *command,
            f"-max_total_time={SECONDS}",
            f"-artifact_prefix={corpus.parent}/{name}-",
            "-print_final_stats=1",
            *_LIMITS,
            str(corpus),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        errors="replace",
        timeout=SECONDS + 240,
        check=False,
    )


@pytest.fixture(scope="module")
def agent_fuzzers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agent's fuzzers, built."""
    if os.geteuid() != 0:
        pytest.skip("the agent's fuzzers run in namespaces of their own, which takes root")
    build = tmp_path_factory.mktemp("fuzzers")
    made = subprocess.run(
        [
            *("make", "-f", "Makefile", "-f", "../fuzz/agent/rules.mk"),
            *(f"BUILD={build}", "fuzzers"),
        ],
        cwd=REPOSITORY / "tests" / "agent",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-4000:]
    return build


@pytest.fixture(scope="module")
def results(
    agent_fuzzers: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[subprocess.CompletedProcess[str], Path]]:
    """What came of all of them; as many at once as there are processors."""
    commands = {name: [sys.executable, "-m", f"tests.fuzz.fuzz_{name}"] for name in HOST}
    work = {name: tmp_path_factory.mktemp(name) for name in (*HOST, *AGENT)}
    for name in AGENT:
        sandbox = str(HERE / "agent" / "sandbox.sh")
        commands[name] = [sandbox, str(work[name]), str(agent_fuzzers / f"fuzz_{name}")]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {
            name: pool.submit(fuzz, name, command, work[name] / "corpus")
            for name, command in commands.items()
        }
        return {name: (each.result(), work[name]) for name, each in running.items()}


@pytest.mark.timeout(SECONDS * 6 + 900)
@pytest.mark.parametrize("name", [*HOST, *AGENT])
def test_no_input_does_harm(
    name: str, results: dict[str, tuple[subprocess.CompletedProcess[str], Path]]
) -> None:
    done, work = results[name]
    harmful = list(work.glob(f"{name}-*"))
    for each in harmful:
        FOUND.mkdir(exist_ok=True)
        shutil.copy(each, FOUND)
    words = "\n".join(done.stderr.splitlines()[-40:])
    assert done.returncode == 0, f"{[each.name for each in harmful]} in {FOUND}\n{words}"
    runs = next(line for line in done.stderr.splitlines() if "number_of_executed_units" in line)
    print(f"{name}: {runs.split()[-1]} runs in {SECONDS} s")
    assert int(runs.split()[-1]) > len(list((HERE / "corpus" / name).iterdir()))
