"""Limits, further disks and kernels of pods, as the guest and the host see them."""

from __future__ import annotations

import subprocess
import uuid

import pytest

from nova_hyper.spec.boot import Boot, BootFileKind
from nova_hyper.spec.container import Container
from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.errors import BootFileInUse, GuestFailed
from nova_hyper.spec.nic import Nic, NicKind
from nova_hyper.spec.pod import PodSpec
from nova_hyper.spec.tuning import (
    CpuLimits,
    CpuTopology,
    DiskLimits,
    Rng,
    Tuning,
)
from tests.functional.daemon import private, wait_for

BRIDGE = "hytune0"
# Where in a vmlinux the code begins that the PVH entry point is in.
_CODE = slice(2 << 20, 4 << 20)
_UNDEFINED = b"\x0f\x0b"  # ud2
SEEN = """
nproc
grep -c '^processor' /proc/cpuinfo
cat /sys/devices/system/cpu/cpu0/topology/core_siblings_list
ls /sys/class/misc | grep -c hw_random
cat /sys/class/misc/hw_random/rng_current
ls -d /sys/class/net/eth0/queues/rx-* | wc -l
df -k /mnt | tail -n 1 | awk '{print $2}'
grep -c ' /mnt ext4 ' /proc/mounts
awk 'NR == 2 {print $3}' /proc/swaps
cat /mnt/kept
echo kept > /mnt/kept
uname -r
cat /proc/cmdline
echo end
exec sleep 100000
"""


@pytest.fixture(scope="module")
def bridge():
    """A Linux bridge of the test's own."""
    subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
    subprocess.run(["ip", "link", "set", BRIDGE, "up"], check=True)
    yield BRIDGE
    subprocess.run(["ip", "link", "del", BRIDGE], check=True)


@pytest.fixture(scope="module")
def hyperd(libvirt, guest, busybox):
    """A hyperd with the image ``busybox``; no pod, file or domain of it is left after."""
    with private(guest, busybox, hypervisor__boot_timeout="15") as daemon:
        yield daemon


def spec(script, **changes):
    container = Container("main", "busybox", command=("sh", "-c", script))
    pod_id = str(uuid.uuid4())
    return PodSpec(pod_id, f"p-{pod_id[:8]}", (container,), **{"memory_mib": 64, **changes})


def run(hyperd, wanted, until="end\n"):
    """What the pod printed on its console up to *until*."""
    hyperd.client.create_pod(wanted)
    hyperd.client.start_pod(wanted.id)
    return printed(hyperd, wanted.id, until)


def printed(hyperd, pod_id, until="end\n", times=1):
    def text():
        shown = hyperd.client.console(pod_id, 1 << 16).decode().replace("\r\n", "\n")
        return shown if shown.count(until) >= times else None

    return wait_for(text, what=f"{until!r} on the console")


def virsh(*arguments):
    done = subprocess.run(
        ["virsh", "-c", "qemu:///system", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def table(text):
    """virsh's ``name : value`` lines."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}


@pytest.fixture(scope="module")
def tuned(hyperd, bridge):
    """A pod with all of it, and what it printed when it first ran."""
    wanted = spec(
        SEEN,
        vcpus=2,
        memory_mib=96,
        root_gib=1,
        ephemerals=(EphemeralDisk(1),),
        swap_mib=32,
        nics=(Nic("52:54:00:a1:b2:c3", NicKind.BRIDGE, bridge=bridge),),
        tuning=Tuning(
            cpu=CpuLimits(shares=256, period_us=50000, quota_us=25000),
            topology=CpuTopology(1, 2, 1),
            disk=DiskLimits(read_bytes_sec=50 << 20, total_iops_sec=5000),
            rng=Rng(True, 4096, 1000),
            multiqueue=True,
        ),
        boot=Boot(cmdline="hyper.word=spoken"),
    )
    return wanted, run(hyperd, wanted)


@pytest.fixture(scope="module")
def domain(hyperd, tuned):
    return hyperd.prefix + tuned[0].id


def test_the_guest_has_what_its_pod_asked_for(tuned):
    lines = tuned[1].splitlines()
    cpus, processors, siblings, rngs, rng, queues, size, mounts, swap = lines[:9]
    assert (cpus, processors, siblings) == ("2", "2", "0-1")
    assert (rngs, rng) == ("1", "virtio_rng.0")
    assert queues == "2"
    assert 0.9 * (1 << 20) < int(size) <= 1 << 20
    assert mounts == "1"
    assert int(swap) == (32 << 10) - 4  # a page for the header


def test_the_users_words_reach_the_kernel_and_what_the_guest_needs_stays(tuned):
    (line,) = (line for line in tuned[1].splitlines() if "hyper.word" in line)
    words = line.split()
    assert "hyper.word=spoken" in words
    assert words[-1] == "rdinit=/init"


def test_the_hosts_scheduler_has_the_limits_of_the_cpus(domain):
    shown = table(virsh("schedinfo", domain))
    assert (shown["cpu_shares"], shown["vcpu_period"], shown["vcpu_quota"]) == (
        "256",
        "50000",
        "25000",
    )


def test_qemu_has_the_limits_of_the_disks_one_for_the_root_and_one_for_each_other(domain):
    groups = {}
    for row in virsh("domblklist", domain).splitlines()[2:]:
        if row.strip():
            device = row.split()[0]
            shown = table(virsh("blkdeviotune", domain, device))
            assert (shown["read_bytes_sec"], shown["total_iops_sec"]) == (str(50 << 20), "5000")
            groups.setdefault(shown["group_name"], []).append(device)
    assert len(groups.pop("root")) > 1  # layers and what is written, together
    assert sorted(map(len, groups.values())) == [1, 1]


def test_an_ephemeral_disk_outlives_a_restart_of_its_pod(hyperd, tuned):
    pod_id = tuned[0].id
    assert "kept\n" not in tuned[1]
    hyperd.client.stop_pod(pod_id, grace_s=0)
    hyperd.client.start_pod(pod_id)
    again = printed(hyperd, pod_id, times=2)
    assert "\nkept\n" in again


def test_a_pod_may_have_no_random_number_generator(hyperd):
    wanted = spec(
        "cat /sys/class/misc/hw_random/rng_current; echo end",
        tuning=Tuning(rng=Rng(enabled=False)),
    )
    assert "virtio" not in run(hyperd, wanted)
    hyperd.client.delete_pod(wanted.id)


@pytest.fixture(scope="module")
def release(guest):
    """The release of the host's guest kernel, and another one of the same length."""
    image = (guest / "current/vmlinux").read_bytes()
    begin = image.index(b"Linux version ") + len(b"Linux version ")
    ours = image[begin : image.index(b" ", begin)]
    return ours, b"9" + ours[1:]


def kernel(hyperd, name, data):
    return hyperd.client.import_boot_file(name, BootFileKind.KERNEL, [data])


def test_a_kernel_of_the_users_is_booted_and_kept_as_long_as_a_pod_needs_it(
    hyperd, guest, release
):
    ours, other = release
    image = (guest / "current/vmlinux").read_bytes().replace(ours, other)
    file = kernel(hyperd, "other", image)
    assert file.format == "vmlinux"
    wanted = spec("uname -r; cat /proc/cmdline; echo end", boot=Boot(kernel=file.id))
    lines = run(hyperd, wanted).splitlines()
    assert other.decode() in lines
    with pytest.raises(BootFileInUse):
        hyperd.client.delete_boot_file("other")
    hyperd.client.delete_pod(wanted.id)
    hyperd.client.delete_boot_file("other")
    assert hyperd.client.boot_files() == ()


def test_a_users_ramdisk_is_unpacked_before_the_agent(hyperd, guest):
    theirs = (guest / "current/initramfs.cpio").read_bytes()
    file = hyperd.client.import_boot_file("theirs", BootFileKind.RAMDISK, [theirs])
    wanted = spec("echo end", boot=Boot(ramdisk=file.id))
    assert run(hyperd, wanted) == "end\n"
    hyperd.client.delete_pod(wanted.id)
    hyperd.client.delete_boot_file("theirs")


def test_a_guest_that_panics_fails_with_its_last_words(hyperd):
    broken = b"070701" + b"not a header of an archive" * 40
    file = hyperd.client.import_boot_file("broken", BootFileKind.RAMDISK, [broken])
    wanted = spec("true", boot=Boot(ramdisk=file.id))
    with pytest.raises(GuestFailed, match="Kernel panic"):
        hyperd.client.create_pod(wanted)
    assert wanted.id not in {pod.spec.id for pod in hyperd.client.pods()}
    hyperd.client.delete_boot_file("broken")


def test_a_kernel_that_is_no_code_fails_and_leaves_nothing(hyperd, guest):
    image = bytearray((guest / "current/vmlinux").read_bytes())
    # Its headers are right, and what they lead to is not.
    image[_CODE] = _UNDEFINED * ((_CODE.stop - _CODE.start) // len(_UNDEFINED))
    file = kernel(hyperd, "zeros", bytes(image))
    wanted = spec("true", boot=Boot(kernel=file.id))
    with pytest.raises(GuestFailed):
        hyperd.client.create_pod(wanted)
    hyperd.client.delete_boot_file("zeros")
    assert hyperd.prefix + wanted.id not in hyperd.domains()
