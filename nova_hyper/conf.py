"""Configuration options: of ``hyperd``, and of the driver in ``nova-compute``.

``etc/nova/hyperd.conf.sample`` and ``etc/nova/nova-hyper.conf.sample`` are
generated from here by oslo-config-generator.
"""

from __future__ import annotations

from oslo_config import cfg

HYPERD_DEFAULT: list[cfg.Opt] = [
    cfg.StrOpt(
        "state_dir",
        default="/var/lib/hyperd",
        help="Directory of everything that outlives the daemon: pods, images, events and the "
        "guest. It needs a file system with sparse files.",
    ),
    cfg.StrOpt(
        "runtime_dir",
        default="/run/hyperd",
        help="Directory of sockets, emptied by a reboot.",
    ),
]

HYPERD_API: list[cfg.Opt] = [
    cfg.StrOpt("socket", default="$runtime_dir/hyperd.sock", help="Unix socket of the REST API."),
    cfg.StrOpt(
        "socket_group",
        default="nova",
        help="Group that may use the socket (mode 0660, owner: the daemon's user). Whoever may "
        "use it controls every pod of the host. Where the group does not exist, the socket is "
        "for the daemon's own user only.",
    ),
    cfg.IntOpt(
        "threads",
        default=32,
        min=4,
        help="Requests served at once. A client that waits for events holds one.",
    ),
    cfg.IntOpt(
        "max_body_mib", default=4, min=1, help="Largest JSON request, in MiB (archives are not)."
    ),
]

HYPERD_HYPERVISOR: list[cfg.Opt] = [
    cfg.StrOpt("uri", default="qemu:///system", help="libvirt connection URI."),
    cfg.StrOpt(
        "virt_type",
        default="auto",
        choices=[
            ("auto", "Boot the guest once under KVM; fall back to TCG when that fails"),
            ("kvm", "Hardware virtualization"),
            ("qemu", "TCG, QEMU's translator"),
        ],
        help="Accelerator of the micro-VMs. The answer of the trial boot is kept in state_dir "
        "until the kernel, QEMU or the guest changes.",
    ),
    cfg.StrOpt(
        "domain_prefix",
        default="hyper-",
        regex="^[A-Za-z0-9_.-]+$",
        help="Beginning of the names of this daemon's libvirt domains. Those of no pod are "
        "removed at start, so two daemons on one libvirtd need two prefixes.",
    ),
    cfg.IntOpt(
        "boot_timeout",
        default=60,
        min=1,
        help="Seconds that a guest has, from the start of QEMU to the agent's answer.",
    ),
    cfg.IntOpt(
        "pod_overhead_mib",
        default=0,
        min=0,
        help="Host memory that a pod takes beside its own, in MiB, as told to Nova. 0: 24 under "
        "KVM, 96 under TCG.",
    ),
    cfg.IntOpt(
        "min_memory_mib",
        default=32,
        min=16,
        help="Smallest memory of a pod, in MiB. A guest with less does not reach its agent.",
    ),
    cfg.StrOpt(
        "firmware",
        default="/usr/share/qemu/qboot.rom",
        help="Firmware that starts the PVH kernel. qboot is faster than SeaBIOS; where the file "
        "does not exist, QEMU's default is used.",
    ),
]

HYPERD_GUEST: list[cfg.Opt] = [
    cfg.StrOpt(
        "directory",
        default="$state_dir/guest",
        help="Directory with what 'hyperctl guest build' made.",
    ),
    cfg.StrOpt(
        "source_dir",
        default="",
        help="Directory with the agent's source and the kernel fragment. Empty: where the "
        "package installed them.",
    ),
    cfg.IntOpt(
        "request_timeout",
        default=30,
        min=1,
        help="Seconds that the agent has for one request.",
    ),
]

HYPERD_IMAGE: list[cfg.Opt] = [
    cfg.StrOpt("directory", default="$state_dir/images", help="Directory of the image store."),
    cfg.IntOpt(
        "max_image_gib",
        default=64,
        min=1,
        help="Largest image, as the sum of its unpacked layers, in GiB.",
    ),
    cfg.IntOpt(
        "max_layer_disks",
        default=16,
        min=1,
        max=128,
        help="Layers attached as disks of their own; images with more are refused.",
    ),
]

HYPERD_POD: list[cfg.Opt] = [
    cfg.IntOpt(
        "stop_timeout",
        default=10,
        min=0,
        help="Seconds between the image's stop signal and SIGKILL, where the request names none.",
    ),
    cfg.IntOpt(
        "event_log_size", default=10000, min=100, help="Events kept for clients that were away."
    ),
]

NOVA_HYPER: list[cfg.Opt] = [
    cfg.StrOpt(
        "socket",
        default="/run/hyperd/hyperd.sock",
        help="Unix socket of this host's hyperd.",
    ),
    cfg.IntOpt(
        "request_timeout",
        default=120,
        min=1,
        help="Seconds that hyperd has for one request (importing an image has no limit while "
        "data flows).",
    ),
    cfg.IntOpt(
        "connect_timeout",
        default=30,
        min=0,
        help="Seconds that a call waits for a hyperd that is restarting.",
    ),
]


def list_hyperd_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """Return the daemon's options for oslo-config-generator."""
    return [
        (None, HYPERD_DEFAULT),
        ("api", HYPERD_API),
        ("hypervisor", HYPERD_HYPERVISOR),
        ("guest", HYPERD_GUEST),
        ("image", HYPERD_IMAGE),
        ("pod", HYPERD_POD),
    ]


def list_nova_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """Return the options that the driver adds to nova.conf."""
    return [("hyper", NOVA_HYPER)]


def register(conf: cfg.ConfigOpts, groups: list[tuple[str | None, list[cfg.Opt]]]) -> None:
    """Register *groups* (as the list functions give them) with *conf*."""
    for group, opts in groups:
        conf.register_opts(opts, group=group)
