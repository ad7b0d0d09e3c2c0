"""The floor: QEMU started by hand, from its exec to the agent's first byte.

The machine is the one that hyperd asks libvirt for, less every device a pod
adds: same machine type, firmware, CPU model, kernel, initramfs and command line.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from pathlib import Path

from nova_hyper.daemon.guest import cmdline, frame
from nova_hyper.daemon.guest.assets import GuestAssets
from nova_hyper.daemon.hypervisor.domain import AGENT_PORT

_TIMEOUT_S = 60.0
_POLL_S = 0.001
_CPU = {"kvm": "host", "qemu": "qemu64"}
_ACCEL = {"kvm": "kvm", "qemu": "tcg"}


def run(assets: GuestAssets, virt_type: str, memory_mib: int, firmware: str) -> float:
    """Boot once and return the seconds to the agent's first byte.

    :raises TimeoutError: when the agent never says anything.
    """
    with tempfile.TemporaryDirectory(prefix="bootbench-") as directory:
        path = Path(directory, "agent.sock")
        command = _command(assets, virt_type, memory_mib, firmware, path)
        begin = time.monotonic()
        qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            _first_byte(path, begin + _TIMEOUT_S)
            return time.monotonic() - begin
        finally:
            qemu.kill()
            qemu.wait()


def _command(
    assets: GuestAssets, virt_type: str, memory_mib: int, firmware: str, path: Path
) -> list[str]:
    command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]
    command += ["-machine", f"q35,accel={_ACCEL[virt_type]},hpet=off", "-cpu", _CPU[virt_type]]
    command += ["-m", str(memory_mib), "-smp", "1"]
    if Path(firmware).exists():
        command += ["-bios", firmware]
    command += ["-kernel", str(assets.kernel), "-initrd", str(assets.initramfs)]
    command += ["-append", cmdline.DEFAULT]
    command += ["-chardev", f"socket,id=agent,path={path},server=on,wait=off"]
    command += ["-device", "virtio-serial-pci"]
    return [*command, "-device", f"virtserialport,chardev=agent,name={AGENT_PORT}"]


def _first_byte(path: Path, deadline: float) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        while True:
            try:
                channel.connect(str(path))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError("QEMU did not open the agent's socket") from None
                time.sleep(_POLL_S)
        hello = {"op": "hello", "nonce": "floor", "version": 1}
        channel.sendall(frame.encode_request(1, hello))
        channel.settimeout(max(0.1, deadline - time.monotonic()))
        if not channel.recv(1):
            raise TimeoutError("QEMU ended before the agent said anything")
