"""Volumes: Cinder's connection info, as Nova hands it over, to disks of a pod.

The driver refuses servers with volumes until this package connects them; see
``nova_hyper.virt.requirements``.
"""
