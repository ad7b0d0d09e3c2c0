"""What of a pod can change while it is stopped."""

from __future__ import annotations

import dataclasses

from nova_hyper.spec.disk import EphemeralDisk
from nova_hyper.spec.pod import PodSpec, RestartPolicy
from nova_hyper.spec.tuning import Tuning


@dataclasses.dataclass(frozen=True)
class Shape:
    """The size of a pod, and what else its creator's flavor says; fields as in PodSpec.

    A disk can become larger, not smaller; an ephemeral disk is known by its
    place in the list, and a new one comes last.  Swap can have any size.
    """

    vcpus: int
    memory_mib: int
    root_gib: int
    ephemerals: tuple[EphemeralDisk, ...]
    swap_mib: int
    tuning: Tuning
    labels: dict[str, str]
    restart_policy: RestartPolicy
    termination_grace_s: float | None

    @classmethod
    def of(cls, spec: PodSpec) -> Shape:
        """Return the shape that *spec* has."""
        return cls(**{field.name: getattr(spec, field.name) for field in dataclasses.fields(cls)})

    def applied_to(self, spec: PodSpec) -> PodSpec:
        """Return *spec* in this shape."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return dataclasses.replace(spec, **values)
