"""Networking: Neutron ports, as Nova hands them over, to NICs of a pod.

``plugin`` is what os-vif loads, also in processes without Nova: this package
imports nothing by itself.
"""
