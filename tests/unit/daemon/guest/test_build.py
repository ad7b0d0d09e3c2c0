from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nova_hyper.daemon.guest import assets, build, kernel, toolchain
from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.daemon.guest.buildlog import BuildFailed

AGENT_MAKEFILE = """\
$(BUILD)/agent: agent.c
\tmkdir -p $(BUILD)
\tgcc -o $@ $<
"""
# What QEMU looks for in a vmlinux: an ELF note of Xen's with the PVH entry.
KERNEL_C = """
const char banner[] = "Linux version 6.9.9 (test)";
int main(void) { return banner[0]; }
__asm__(".section .note.Xen,\\"a\\",@note\\n"
        ".long 4, 8, 18\\n.asciz \\"Xen\\"\\n.quad 0x1000000\\n.previous");
"""
KERNEL_MAKEFILE = """\
allnoconfig:
\tgrep -v REFUSED $(KCONFIG_ALLCONFIG) | grep -v GONE > .config
vmlinux: main.c
\tgcc -o $@ $<
"""
BUILD_IN_A_PROCESS = """
import signal, sys
from pathlib import Path
from nova_hyper.daemon.guest import build
# A shell starts what runs in its background with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
directory, source, tarball = map(Path, sys.argv[1:])
build.build(directory, source, tarball, None, lambda _message: None, 1)
"""


@pytest.fixture(scope="module")
def vmlinux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("kernel")
    (directory / "main.c").write_text(KERNEL_C)
    subprocess.run(["gcc", "-o", directory / "vmlinux", directory / "main.c"], check=True)
    return directory / "vmlinux"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    (directory / "agent").mkdir(parents=True)
    (directory / "agent/Makefile").write_text(AGENT_MAKEFILE)
    (directory / "agent/agent.c").write_text("int main(void) { return 0; }\n")
    (directory / "agent/version.h").write_text('#define AGENT_VERSION "9.8.7"\n')
    (directory / "kernel").mkdir()
    (directory / "kernel/hyper.config").write_text("CONFIG_A=y\n")
    return directory


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    return make_tarball(tmp_path)


def make_tarball(tmp_path: Path, makefile: str = KERNEL_MAKEFILE) -> Path:
    tree = tmp_path / "linux-6.9.9"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    (tree / "Kconfig").write_text("config A\nconfig REFUSED\n")
    (tree / "Makefile").write_text(makefile)
    (tree / "main.c").write_text(KERNEL_C)
    path = tmp_path / "linux-source-6.9.tar.xz"
    subprocess.run(["tar", "-C", tmp_path, "-cJf", path, tree.name], check=True)
    return path


class Builder:
    def __init__(self, directory: Path, source: Path) -> None:
        self.directory = directory
        self.source = source
        self.said: list[str] = []

    def __call__(self, kernel: Path | None = None, tarball: Path | None = None) -> GuestAssets:
        self.said = []
        return build.build(self.directory, self.source, tarball, kernel, self.said.append, 2)

    def leftovers(self) -> list[str]:
        return [p.name for p in self.directory.iterdir() if p.name.startswith(".")]


@pytest.fixture
def builder(tmp_path: Path, source: Path) -> Builder:
    return Builder(tmp_path / "guest", source)


def test_a_ready_kernel_and_the_agent_become_the_current_guest(
    builder: Builder, vmlinux: Path
) -> None:
    made = builder(vmlinux)
    assert assets.current(builder.directory) == made
    assert (made.kernel_version, made.agent_version) == ("6.9.9", "9.8.7")
    assert made.kernel.read_bytes() == vmlinux.read_bytes()
    assert b"070701" in made.initramfs.read_bytes()
    assert made.kernel.stat().st_mode & 0o777 == 0o644
    assert made.kernel.parent.stat().st_mode & 0o777 == 0o755
    assert builder.leftovers() == []


def test_a_second_run_builds_nothing(builder: Builder, vmlinux: Path) -> None:
    made = builder(vmlinux)
    started = time.monotonic()
    assert builder(vmlinux) == made
    assert time.monotonic() - started < 1
    assert builder.said == []


def test_the_kernel_is_compiled_from_a_tarball(builder: Builder, tarball: Path) -> None:
    made = builder(tarball=tarball)
    assert made.kernel_version == "6.9.9"
    assert any("compiling the kernel with 2 jobs" in line for line in builder.said)
    assert all(line.startswith("[") for line in builder.said)
    assert builder.leftovers() == []


def test_a_change_of_the_agent_does_not_compile_the_kernel_again(
    builder: Builder, tarball: Path
) -> None:
    first = builder(tarball=tarball)
    (builder.source / "agent/agent.c").write_text("int main(void) { return 1; }\n")
    second = builder(tarball=tarball)
    assert second.key != first.key
    assert not any("kernel" in line for line in builder.said)
    assert first.kernel.exists()
    assert assets.current(builder.directory) == second


def test_a_change_of_the_fragment_compiles_the_kernel_again(
    builder: Builder, tarball: Path
) -> None:
    first = builder(tarball=tarball)
    (builder.source / "kernel/hyper.config").write_text("CONFIG_A=m\n")
    assert builder(tarball=tarball).key != first.key
    assert any("compiling the kernel" in line for line in builder.said)


def test_going_back_to_an_earlier_source_takes_the_earlier_build(
    builder: Builder, vmlinux: Path
) -> None:
    first = builder(vmlinux)
    original = (builder.source / "agent/agent.c").read_text()
    (builder.source / "agent/agent.c").write_text("int main(void) { return 1; }\n")
    builder(vmlinux)
    (builder.source / "agent/agent.c").write_text(original)
    assert builder(vmlinux) == first
    assert builder.said == []
    assert assets.current(builder.directory) == first


def test_an_agent_that_does_not_compile_names_the_log_and_leaves_nothing(
    builder: Builder, vmlinux: Path
) -> None:
    good = builder(vmlinux)
    (builder.source / "agent/agent.c").write_text("int main(void) { return nonsense; }\n")
    with pytest.raises(BuildFailed, match=r"compiling the agent failed .*build\.log") as caught:
        builder(vmlinux)
    assert "nonsense" in caught.value.message
    assert "nonsense" in (builder.directory / "build.log").read_text()
    assert builder.leftovers() == []
    assert assets.current(builder.directory) == good


def test_a_kernel_that_does_not_compile_names_the_log(builder: Builder, tmp_path: Path) -> None:
    tarball = make_tarball(tmp_path, KERNEL_MAKEFILE.replace("gcc -o $@ $<", "exit 3"))
    with pytest.raises(BuildFailed, match=r"compiling the kernel failed .*build\.log"):
        builder(tarball=tarball)
    assert builder.leftovers() == []


def test_an_option_without_effect_fails_and_an_unknown_one_does_not(
    builder: Builder, tarball: Path
) -> None:
    fragment = builder.source / "kernel/hyper.config"
    fragment.write_text("CONFIG_A=y\nCONFIG_GONE=y\n")
    builder(tarball=tarball)
    assert any("no option CONFIG_GONE" in line for line in builder.said)
    fragment.write_text("CONFIG_A=y\nCONFIG_REFUSED=y\n")
    with pytest.raises(BuildFailed, match="does not accept CONFIG_REFUSED"):
        builder(tarball=tarball)


def test_a_tarball_that_is_no_kernel_is_refused(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    path = tmp_path / "other.tar.xz"
    subprocess.run(["tar", "-C", tmp_path, "-cJf", path, "other"], check=True)
    with pytest.raises(BuildFailed, match="not a kernel source"):
        builder(tarball=path)
    path.write_bytes(b"not an archive")
    with pytest.raises(BuildFailed, match="unpacking the kernel source failed"):
        builder(tarball=path)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(b"MZ", "not an uncompressed x86-64 vmlinux"), (b"", "not an uncompressed x86-64 vmlinux")],
)
def test_a_kernel_that_cannot_be_booted_is_refused(
    builder: Builder, tmp_path: Path, data: bytes, sentence: str
) -> None:
    (tmp_path / "bzImage").write_bytes(data)
    with pytest.raises(BuildFailed, match=sentence):
        builder(tmp_path / "bzImage")
    assert builder.leftovers() == []


def test_a_kernel_without_pvh_entry_is_refused(builder: Builder) -> None:
    with pytest.raises(BuildFailed, match="CONFIG_PVH=y"):
        builder(Path("/bin/true").resolve())


@pytest.mark.parametrize("kind", ["kernel", "tarball"])
def test_a_missing_input_is_named(builder: Builder, tmp_path: Path, kind: str) -> None:
    with pytest.raises(BuildFailed, match=r"there is no kernel.*/missing"):
        builder(**{kind: tmp_path / "missing"})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing_and_its_processes_end(
    builder: Builder, tmp_path: Path, number: signal.Signals
) -> None:
    mark = tmp_path / "compiler"
    recipe = f"sh -c 'echo $$$$ >{mark}; exec sleep 1000'"
    tarball = make_tarball(tmp_path, KERNEL_MAKEFILE.replace("gcc -o $@ $<", recipe))
    arguments = [str(builder.directory), str(builder.source), str(tarball)]
    process = subprocess.Popen([sys.executable, "-c", BUILD_IN_A_PROCESS, *arguments])
    while not (mark.exists() and mark.read_text().endswith("\n")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(timeout=20) != 0
    assert builder.leftovers() == []
    assert not Path("/proc", mark.read_text().strip()).exists()


def test_what_a_killed_build_has_left_is_removed(builder: Builder, vmlinux: Path) -> None:
    (builder.directory / ".work-old/linux").mkdir(parents=True)
    builder(vmlinux)
    assert builder.leftovers() == []


def test_a_damaged_build_is_made_again(builder: Builder, vmlinux: Path) -> None:
    made = builder(vmlinux)
    made.initramfs.unlink()
    assert builder(vmlinux) == made
    assert made.initramfs.stat().st_size


def test_two_builds_at_once_make_one(builder: Builder, vmlinux: Path) -> None:
    said: list[str] = []
    results: list[GuestAssets] = []

    def run() -> None:
        results.append(
            build.build(builder.directory, builder.source, None, vmlinux, said.append, 1)
        )

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1] == results[2]
    assert sum("compiling the agent" in line for line in said) == 1


def test_only_the_newest_builds_and_their_kernels_are_kept(
    builder: Builder, vmlinux: Path, tmp_path: Path
) -> None:
    keys = []
    for number in range(5):
        other = tmp_path / f"vmlinux{number}"
        other.write_bytes(vmlinux.read_bytes() + bytes([number]))
        keys.append(builder(other).key)
    kept = {p.parent.name for p in builder.directory.glob("*/manifest.json")} - {"current"}
    assert kept == set(keys[-3:])
    assert len(list(builder.directory.glob("kernels/*"))) == 3


def test_a_source_directory_without_a_guest_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=f"{tmp_path} has no kernel/hyper.config"):
        build.source_directory(tmp_path)


def test_the_checkout_is_a_source_directory() -> None:
    assert (build.source_directory(None) / "agent/main.c").is_file()


def test_the_newest_kernel_source_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "SOURCES", tmp_path)
    with pytest.raises(BuildFailed, match="install the package linux-source"):
        kernel.find_source()
    for name in ("linux-source-6.1.tar.xz", "linux-source-6.12.tar.xz", "linux-config-9.tar.xz"):
        (tmp_path / name).touch()
    assert kernel.find_source().name == "linux-source-6.12.tar.xz"


def test_missing_packages_are_named_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("flex", "bc") else "/x")
    with pytest.raises(BuildFailed, match=r"apt install bc flex$"):
        toolchain.require_for_kernel()
