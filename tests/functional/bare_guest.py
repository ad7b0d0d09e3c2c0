"""A micro-VM started by hand from the built guest, without libvirt and hyperd."""

from __future__ import annotations

import contextlib
import queue
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from nova_hyper.daemon.guest import assets, cmdline
from nova_hyper.daemon.guest.channel import AgentChannel
from nova_hyper.daemon.guest.reactor import Reactor
from nova_hyper.spec.errors import GuestFailed

FIRMWARE = Path("/usr/share/qemu/qboot.rom")
BUSYBOX = Path("/bin/busybox")
MAC = "52:54:00:12:34:56"
BOOT_S = 60.0
ANSWER_S = 30.0

PASSWD = """root:x:0:0:root:/root:/bin/sh
web:x:1000:1000:web:/home/web:/bin/sh
"""
GROUP = """root:x:0:
web:x:1000:
logs:x:2000:web
"""


def squash(tree: Path, image: Path) -> Path:
    subprocess.run(
        # As the image store writes them.
        [
            *("mksquashfs", tree, image, "-noappend", "-quiet", "-no-progress"),
            *("-comp", "zstd", "-no-fragments"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return image


def make_layers(root: Path) -> list[Path]:
    """Make two layers: busybox with users, and an application over it."""
    base = root / "base"
    for directory in ("bin", "etc", "home/web", "tmp"):
        (base / directory).mkdir(parents=True)
    shutil.copy(BUSYBOX, base / "bin/busybox")
    for applet in ("sh", "cat", "id", "sleep", "ls", "ip", "hostname", "env", "mount", "stat"):
        (base / "bin" / applet).symlink_to("busybox")
    (base / "etc/passwd").write_text(PASSWD)
    (base / "etc/group").write_text(GROUP)
    (base / "etc/below").write_text("lower\n")
    application = root / "application"
    (application / "etc").mkdir(parents=True)
    (application / "etc/below").write_text("upper\n")
    (application / "etc/resolv.conf").symlink_to("../run/resolv/stub.conf")
    (application / "noexec").write_text("#!/bin/sh\n")
    (application / "text").write_text("neither\n")
    (application / "text").chmod(0o755)
    (application / "orphan").write_text("#!/no/such/shell\n")
    (application / "orphan").chmod(0o755)
    return [squash(base, root / "base.sqfs"), squash(application, root / "application.sqfs")]


class Guest:
    """A micro-VM started by hand, with its disks, console and agent."""

    def __init__(
        self,
        directory: Path,
        guest: assets.GuestAssets,
        reactor: Reactor,
        layers: list[Path],
        *,
        memory_mib: int = 64,
        vcpus: int = 1,
        log: bool = True,
        extra: tuple[str, ...] = (),
    ) -> None:
        self.directory = directory
        self.reactor = reactor
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.lost: queue.Queue[str] = queue.Queue()
        self.socket = directory / "agent.sock"
        upper = directory / "upper.img"
        with upper.open("wb") as file:
            file.truncate(64 * 1024**2)
        subprocess.run(["mkfs.ext4", "-q", "-F", upper], check=True)
        command = [
            "qemu-system-x86_64",
            *("-M", "q35,accel=tcg,hpet=off", "-cpu", "qemu64", "-m", str(memory_mib)),
            *("-smp", str(vcpus), "-nodefaults", "-no-user-config", "-display", "none"),
            *("-no-reboot", "-kernel", str(guest.kernel), "-initrd", str(guest.initramfs)),
            *("-append", cmdline.DEFAULT),
            *("-device", "virtio-serial-pci,max_ports=3"),
            *("-chardev", f"file,id=console,path={directory}/console"),
            *("-device", "virtconsole,chardev=console"),
            *("-chardev", f"socket,id=agent,path={self.socket},server=on,wait=off"),
            *("-device", "virtserialport,chardev=agent,name=org.nova-hyper.agent.0"),
            *("-device", "virtio-rng-pci", "-device", "pvpanic"),
            *("-netdev", "user,id=net,restrict=on", "-device"),
            f"virtio-net-pci,netdev=net,mac={MAC},romfile=",
            *extra,
        ]
        if log:
            command += ["-chardev", f"file,id=log,path={directory}/log"]
            command += ["-device", "virtserialport,chardev=log,name=org.nova-hyper.log.0"]
        if FIRMWARE.exists():
            command += ["-bios", str(FIRMWARE)]
        disks = [(path, f"l{i}", "on") for i, path in enumerate(layers)] + [
            (upper, "upper0", "off")
        ]
        for path, serial, readonly in disks:
            node = f"driver=raw,node-name={serial},read-only={readonly},file.driver=file"
            command += ["-blockdev", f"{node},file.filename={path}"]
            command += ["-device", f"virtio-blk-pci,drive={serial},serial={serial}"]
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.channel = self.connect(fresh=True)

    def connect(self, *, fresh: bool) -> AgentChannel:
        self.channel = AgentChannel(self.socket, self.reactor, self.events.put, self.lost.put)
        try:
            self.hello = self.channel.connect(fresh=fresh, timeout=BOOT_S)
        except GuestFailed:
            self.end()
            raise
        return self.channel

    def interfere(self, data: bytes) -> None:
        """Have another daemon send *data* and die; then connect again."""
        self.channel.close()
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as raw:
            raw.connect(str(self.socket))
            raw.sendall(data)
            time.sleep(0.1)
        self.connect(fresh=False)

    def ask(self, op: str, **args: Any) -> dict[str, Any]:
        return self.channel.request(op, ANSWER_S, **args)

    def create(self, name: str, *argv: str, **args: Any) -> None:
        body: dict[str, Any] = {
            "name": name,
            "layers": ["l0", "l1"],
            "upper": {"tmpfs_mib": 4},
            "argv": list(argv),
            "env": [],
            "user": "",
            "cwd": "",
            "stop_signal": "",
        }
        self.ask("container.create", **(body | args))

    def run(self, name: str, *argv: str, **args: Any) -> str:
        """Run a container to its end and return what it has written to the console."""
        before = len(self.console())
        self.create(name, *argv, **args)
        self.ask("container.start", name=name)
        self.event("container.exited", name)
        deadline = time.monotonic() + ANSWER_S
        # The console's bytes leave QEMU by another device than the event.
        while time.monotonic() < deadline and not self.console()[before:].endswith("\n"):
            time.sleep(0.02)
        return self.console()[before:]

    def event(self, kind: str, name: str) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_S
        while True:
            event = self.events.get(timeout=max(0.01, deadline - time.monotonic()))
            if event["event"] == kind and event.get("name") == name:
                return event

    def event_of(self, kind: str) -> dict[str, Any]:
        """Return the next event of the pod itself of that kind."""
        deadline = time.monotonic() + ANSWER_S
        while True:
            event = self.events.get(timeout=max(0.01, deadline - time.monotonic()))
            if event["event"] == kind:
                return event

    def status(self, name: str) -> dict[str, Any]:
        containers = self.ask("pod.status")["containers"]
        return next(c for c in containers if c["name"] == name)

    def console(self) -> str:
        return (self.directory / "console").read_text(errors="replace")

    def log(self) -> list[list[str]]:
        """Return the records of the containers' log: time, container, stream, flag, content."""
        text = (self.directory / "log").read_text(errors="replace")
        return [line.split(" ", 4) for line in text.split("\n")[:-1]]

    def end(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
