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
        "max_streams",
        default=64,
        min=1,
        help="Calls that last and are served at once: exec, attach, logs, copies, pulls, saves, "
        "commits, snapshots. Each has a thread or two of its own, beside those of 'threads'.",
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
    cfg.IntOpt(
        "max_boot_file_mib",
        default=512,
        min=1,
        help="Largest kernel or ramdisk that users may bring, in MiB.",
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
        help="Layers attached as disks of their own. Of images with more the bottom ones are "
        "merged into one, which takes room on disk beside them.",
    ),
    cfg.ListOpt(
        "allowed_registries",
        default=[],
        help="Registries that images may be pulled from: hosts with an optional port, with or "
        "without the beginning of a repository (docker.io, quay.io/prometheus, "
        "registry.example.org:5000), or * for any. Empty: pulling is refused. Whoever may use "
        "the socket, and whoever may start servers whose manifests name images, makes this host "
        "connect to these.",
    ),
    cfg.ListOpt(
        "insecure_registries",
        default=[],
        help="Registries of this very host (localhost:5000, 127.0.0.1:5000) that are spoken to "
        "over plain HTTP. They have to be allowed besides.",
    ),
    cfg.StrOpt(
        "registry_ca_directory",
        default="/etc/containers/certs.d",
        help="Directory with a directory for each registry whose certificate the system does not "
        "trust by itself, named HOST or HOST:PORT: files ending in .crt there are authorities, "
        "one ending in .cert is, with its .key, the certificate that this host shows.",
    ),
    cfg.StrOpt(
        "registry_auth_file",
        default="",
        help="File of user names and passwords for registries, as docker login and podman login "
        "write it (config.json, auth.json). It is used where a request brings none. Credential "
        "helpers are not run.",
    ),
    cfg.IntOpt(
        "parallel_downloads",
        default=3,
        min=1,
        max=16,
        help="Layers of one image that are downloaded at the same time.",
    ),
    cfg.StrOpt(
        "import_user",
        default="hyper-import",
        help="User of the processes that read images, which are confined besides. It owns no "
        "file and runs nothing else. Where there is none, they run as nobody.",
    ),
    cfg.IntOpt(
        "import_memory_mib",
        default=1536,
        min=256,
        help="Most memory that reading an image takes, in MiB. It depends on the number of files "
        "in a layer and the length of their names, not on their size.",
    ),
    cfg.IntOpt(
        "import_cpu_seconds",
        default=3600,
        min=1,
        help="Most seconds of processor time that reading an image takes, of all processors "
        "together.",
    ),
    cfg.IntOpt(
        "import_stall_timeout",
        default=120,
        min=1,
        help="Seconds without any progress after which the reading of an image is given up. The "
        "time that the sender takes does not count.",
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
    cfg.StrOpt(
        "seccomp_profile",
        default="/usr/share/containers/seccomp.json",
        help="The profile of containers that ask for RuntimeDefault, in the format of docker and "
        "podman.",
    ),
    cfg.StrOpt(
        "crash_dump_directory",
        default="$state_dir/dumps",
        help="Directory of the crash dumps that Nova's trigger_crash_dump asks for.",
    ),
    cfg.IntOpt(
        "max_crash_dumps",
        default=4,
        min=0,
        help="Crash dumps kept; the oldest are removed for new ones. 0 keeps none, and refuses "
        "to trigger one.",
    ),
    cfg.IntOpt(
        "max_crash_dump_mib",
        default=16384,
        min=32,
        help="Room for all crash dumps together, in MiB. Those of pods with more memory than this "
        "are refused.",
    ),
]

HYPERD_CONSOLE: list[cfg.Opt] = [
    cfg.IPOpt(
        "listen_address",
        default="127.0.0.1",
        help="Address that the interactive consoles of pods listen on, which nova-serialproxy "
        "connects to as [serial_console] proxyclient_address of this host's nova.conf. A port "
        "has no authentication of its own: see allowed_clients.",
    ),
    cfg.StrOpt(
        "port_range",
        default="10000:20000",
        regex=r"^\d+:\d+$",
        help="First and last TCP port of consoles. A pod takes one when its console is asked for "
        "first, and keeps it as long as there are enough.",
    ),
    cfg.ListOpt(
        "allowed_clients",
        default=["127.0.0.1", "::1"],
        help="Addresses and networks (192.0.2.0/28) that may connect to consoles: the hosts of "
        "nova-serialproxy. Others are hung up on. Whoever can connect from there uses every "
        "console that is open.",
    ),
    cfg.IntOpt(
        "max_connections",
        default=64,
        min=1,
        help="Connections to consoles at once, of all pods; four of them to one pod at most. Each "
        "has two threads.",
    ),
    cfg.ListOpt(
        "shells",
        default=["/bin/bash", "/bin/sh"],
        help="Shells of consoles; the first one that the container has is started.",
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
    cfg.BoolOpt(
        "inject_password",
        default=True,
        help="Make the password that Nova gives to every server that of its administrator (root, "
        "or the image's os_admin_user), where the image has that user in /etc/shadow. Setting "
        "the password of a running server works in any case.",
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
        ("console", HYPERD_CONSOLE),
    ]


def list_nova_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """Return the options that the driver adds to nova.conf."""
    return [("hyper", NOVA_HYPER)]


def register(conf: cfg.ConfigOpts, groups: list[tuple[str | None, list[cfg.Opt]]]) -> None:
    """Register *groups* (as the list functions give them) with *conf*."""
    for group, opts in groups:
        conf.register_opts(opts, group=group)
