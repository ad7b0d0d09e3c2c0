from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[3] / "tools"


def run(script, *arguments):
    return subprocess.run([TOOLS / script, *arguments], capture_output=True, text=True)


def bootstrap(tmp_path, text):
    return subprocess.run(
        ["bash", "-euc", f". {TOOLS}/cloud/bootstrap.sh; {text}"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME_DIR": str(tmp_path), "REPO": "/"},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("script", ["quickstart.sh", "tempest.sh", "test.sh"])
def test_help_teaches_and_changes_nothing(script):
    done = run(script, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: tools/{script}")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dwon"], "There is no option --dwon; see --help."),
        (["--home"], "--home needs a value; see --help."),
        (["--driver", "vmware"], "--driver is hyper or fake."),
        (["--purge"], "--purge goes with --down."),
    ],
)
def test_a_mistake_on_the_command_line_is_named(arguments, says):
    done = run("quickstart.sh", *arguments)
    assert done.returncode == 2
    assert done.stderr.strip() == says


def test_package_lists_have_comments_that_are_not_packages(tmp_path):
    done = bootstrap(tmp_path, f"list {TOOLS}/cloud/packages*.txt")
    words = done.stdout.split()
    assert "mariadb-server-core" in words
    assert all(word.replace("-", "").replace(".", "").isalnum() for word in words)
    assert len(words) == len(set(words))


def test_only_packages_that_are_not_installed_are_missing(tmp_path):
    done = bootstrap(tmp_path, "missing bash no-such-package coreutils")
    assert done.stdout.split() == ["no-such-package"]


def test_a_failing_command_names_its_log_and_shows_its_end(tmp_path):
    done = bootstrap(tmp_path, "logged try sh -c 'echo no space left; exit 7'; echo unreached")
    assert done.returncode == 1
    assert f"FAILED: try. Its log is {tmp_path}/log/try.log" in done.stderr
    assert "    no space left" in done.stderr
    assert "unreached" not in done.stdout
