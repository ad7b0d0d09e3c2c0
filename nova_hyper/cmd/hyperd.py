"""``hyperd``: the daemon that runs pods as micro-VMs on this host."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress

from oslo_config import cfg
from oslo_log import log

from nova_hyper import conf as options
from nova_hyper import version
from nova_hyper.daemon.wiring import Daemon
from nova_hyper.spec.errors import HyperError

LOG = logging.getLogger(__name__)

# From malloc.h.
_M_ARENA_MAX = -8
_SIGNAL_CHECK_S = 0.5
_QUIET = ("amqp=WARN", "urllib3=WARN")


def configuration(args: list[str]) -> cfg.ConfigOpts:
    """Return the daemon's configuration from *args* and its files.

    Without ``--config-file``, ``/etc/nova-hyper/hyperd.conf`` is read where it exists.

    :raises cfg.Error: when a file cannot be read, or an option has a wrong value.
    """
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), *_QUIET])
    options.register(conf, options.list_hyperd_opts())
    default = "/etc/nova-hyper/hyperd.conf"
    conf(
        args,
        project="hyperd",
        prog="hyperd",
        version=version.release(),
        description="Runs pods of Docker images as micro-VMs, through libvirt.",
        default_config_files=[default] if os.path.exists(default) else [],
    )
    for group, opts in options.list_hyperd_opts():
        for opt in opts:  # oslo.config looks at a value only when it is asked for
            getattr(conf[group] if group else conf, opt.dest)
    return conf


def main() -> None:
    """Run until SIGTERM or SIGINT; pods go on when the daemon ends."""
    _use_little_memory()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        conf = configuration(sys.argv[1:])
        log.setup(conf, "hyperd")
        daemon = Daemon(conf)
        daemon.start()
    except (HyperError, OSError, cfg.Error) as exc:
        LOG.error("hyperd cannot start: %s", exc)
        sys.exit(f"hyperd: {exc}")
    LOG.info("hyperd %s serves %s", version.release(), conf.api.socket)
    _tell_systemd("READY=1")
    _give_back_memory()
    # In short waits: the kernel may give the signal to another thread, and Python's handler runs
    # in this one only, when it next does something.
    while not stop.wait(_SIGNAL_CHECK_S):
        pass
    LOG.info("hyperd ends; pods go on")
    _tell_systemd("STOPPING=1")
    daemon.stop()
    logging.shutdown()
    # A call that waits for a guest must not keep the process: the next start puts right what is
    # half done, as after a kill.
    os._exit(0)


def _use_little_memory() -> None:
    """Have glibc use one heap for all threads; see mallopt(3).

    A heap for each of some threads keeps what they have freed: 8 MiB after a
    few hundred requests.
    """
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _give_back_memory() -> None:
    """Return to the system what only the start needed; see malloc_trim(3)."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _tell_systemd(state: str) -> None:
    """Notify systemd (``Type=notify``), where it started us; see sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.send(state.encode())


if __name__ == "__main__":
    main()
