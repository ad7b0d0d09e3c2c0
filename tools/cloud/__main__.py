"""``python -m cloud``: what ``tools/quickstart.sh`` runs once everything is installed."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cloud import clouds_yaml, command, demo, down, hyperd, plan, service, up
from cloud.failure import CloudError
from cloud.plan import Clock, Step, StepError
from cloud.site import Site

LINKS = ("openstack", "hyperctl")
LINK_DIR = Path("/usr/local/bin")


def main() -> int:
    """Run the command line; return the exit status."""
    arguments = _parser().parse_args()
    site = Site(arguments.home, getattr(arguments, "driver", "hyper"))
    clock = Clock(_say, time.time() - arguments.began if arguments.began else 0.0)
    try:
        with _alone(site):
            then: Callable[[], int] | None = arguments.does(site, clock, arguments)
        # What takes long and changes no service lets others at the cloud meanwhile.
        if then is not None:
            return then()
    except StepError as exc:
        _explain(f"{exc.name}: {exc.cause}", exc.cause)
        return 1
    except CloudError as exc:
        _explain(exc.message, exc)
        return 1
    except KeyboardInterrupt:
        _say("interrupted; run it again to go on, or with --down to stop what was started")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cloud", description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("/opt/nova-hyper"))
    parser.add_argument("--began", type=float, help="when the run began, in Unix seconds")
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("up")
    verb.add_argument("--driver", choices=("hyper", "fake"), default="hyper")
    verb.add_argument("--no-demo", action="store_true")
    verb.add_argument("--clouds", action="store_true")
    verb.set_defaults(does=_up)
    verb = verbs.add_parser("guest")
    verb.set_defaults(does=_guest)
    verb = verbs.add_parser("down")
    verb.add_argument("--purge", action="store_true")
    verb.set_defaults(does=_down)
    verb = verbs.add_parser("status")
    verb.set_defaults(does=_status)
    verb = verbs.add_parser("tempest")
    verb.add_argument("--list", action="store_true")
    verb.add_argument("tests")
    verb.set_defaults(does=_tempest)
    return parser


def _up(site: Site, clock: Clock, arguments: argparse.Namespace) -> None:
    if site.driver == "hyper":
        _guest(site, clock, arguments)
    cloud = up.bring_up(site, clock)
    clock.note("the cloud is ready")
    clouds_yaml.write(site, site.etc / "clouds.yaml")
    if arguments.clouds:
        clouds_yaml.write(site, clouds_yaml.SYSTEM_FILE)
        _link(site)
    if not arguments.no_demo:
        demo.show(site, cloud, clock, _say)
    _say("")
    _say(f"Done in {clock.elapsed():.0f} s, with {_used_mib(site.home)} MiB in {site.home}.")
    if clouds_yaml.offered(site):
        _say("Try: openstack --os-cloud hyper server list")
    else:
        _say(
            f"Try: export OS_CLIENT_CONFIG_FILE={site.etc}/clouds.yaml PATH={site.venv}/bin:$PATH"
        )
        _say("     openstack --os-cloud hyper server list")
    _say(f"Logs: {site.log}.  Stop everything: tools/quickstart.sh --down")


def _guest(site: Site, clock: Clock, arguments: argparse.Namespace) -> None:
    up.configure(site)
    plan.carry_out([Step("guest", lambda: hyperd.build_guest(site, clock.note))], clock)


def _down(site: Site, clock: Clock, arguments: argparse.Namespace) -> None:
    down.take_down(site, clock, purge=arguments.purge)
    if arguments.purge:
        clouds_yaml.remove(clouds_yaml.SYSTEM_FILE)
        _unlink(site)


def _status(site: Site, clock: Clock, arguments: argparse.Namespace) -> None:
    for name in sorted(service.names(site)):
        pid = service.running_pid(site, name)
        _say(f"{name:<28} {'pid ' + str(pid) if pid else 'down':<12} {site.log}/{name}.log")


def _tempest(site: Site, clock: Clock, arguments: argparse.Namespace) -> Callable[[], int]:
    # Its requirements are not those of the cloud.
    from cloud import tempest

    _guest(site, clock, arguments)
    cloud = up.bring_up(site, clock)
    found = tempest.prepare(site, cloud)
    clock.note("the cloud is ready for Tempest")
    tests = arguments.tests or tempest.DEFAULT_TESTS
    if arguments.list:
        return lambda: tempest.list_tests(site, found, tests, _say)
    return lambda: tempest.run(site, cloud, found, tests, _say)


def _used_mib(directory: Path) -> str:
    shown = command.output(("du", "-sxm", str(directory)), timeout_s=60)
    return shown.split()[0] if shown else "?"


def _link(site: Site) -> None:
    for name in LINKS:
        link = LINK_DIR / name
        if link.is_symlink() or not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(site.bin(name))


def _unlink(site: Site) -> None:
    for name in LINKS:
        link = LINK_DIR / name
        if link.is_symlink() and str(link.readlink()) == site.bin(name):
            link.unlink()


@contextlib.contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Let one process at a time bring the cloud of *site* up or down."""
    site.home.mkdir(parents=True, exist_ok=True)
    with (site.home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another run is at work; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _explain(sentence: str, cause: BaseException) -> None:
    _say("")
    _say(f"FAILED: {sentence}")
    if isinstance(cause, CloudError) and cause.log is not None:
        _say(f"Its log is {cause.log}, which ends with:")
        for line in cause.tail():
            _say(f"    {line}")


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
