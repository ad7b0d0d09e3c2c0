"""Our own flavor extra specs, for the API to refuse what is wrong in them.

The entry point ``nova.api.extra_spec_validators`` on the hosts of nova-api; see
``nova.api.validation.extra_specs``.  With the namespace registered, the API
refuses every ``hyper:`` extra spec that is not here (microversion 2.86).
"""

from __future__ import annotations

from nova.api.validation.extra_specs import base

from nova_hyper.spec.console import ConsoleKind
from nova_hyper.spec.pod import RestartPolicy

RESTART_POLICY = "hyper:restart_policy"
TERMINATION_GRACE = "hyper:termination_grace"
EPHEMERAL_PATH = "hyper:ephemeral_path"
CONSOLE = "hyper:console"

RESTART_POLICIES = tuple(policy.value for policy in RestartPolicy)
CONSOLE_KINDS = tuple(kind.value for kind in ConsoleKind)
MAX_GRACE_S = 86400
PATH_PATTERN = r"/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"


def register() -> list[base.ExtraSpecValidator]:
    """Return the validators."""
    return [
        base.ExtraSpecValidator(
            name=RESTART_POLICY,
            description=(
                "What becomes of a container that ended by itself: it is restarted always, when "
                "it failed, or never (the default). A Pod manifest says so itself."
            ),
            value={"type": str, "enum": list(RESTART_POLICIES)},
        ),
        base.ExtraSpecValidator(
            name=TERMINATION_GRACE,
            description=(
                "Seconds that containers have between their stop signal and SIGKILL where the "
                "request does not say. A Pod manifest says so itself."
            ),
            value={"type": int, "min": 0, "max": MAX_GRACE_S},
        ),
        base.ExtraSpecValidator(
            name=EPHEMERAL_PATH,
            description=(
                "Where containers see the first ephemeral disk; /mnt by default. Further ones "
                "are at this path with 1, 2, ... after it."
            ),
            value={"type": str, "pattern": PATH_PATTERN},
        ),
        base.ExtraSpecValidator(
            name=CONSOLE,
            description=(
                "What the serial console is: the terminal of the container's own process, which "
                "gets one (attach), a shell beside it (shell), or the first one where a Pod "
                "manifest gives the container a terminal and input (auto, the default)."
            ),
            value={"type": str, "enum": list(CONSOLE_KINDS)},
        ),
    ]
