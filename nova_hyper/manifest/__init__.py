"""Kubernetes Pod manifests: from their YAML to the pieces of a pod's specification.

``parse`` in :mod:`nova_hyper.manifest.pod` is the way in.  What is supported is
what ``schema.yaml`` has; everything else is refused by its path in the document.
"""
