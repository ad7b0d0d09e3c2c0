"""Pulling from registries (OCI distribution specification; docker's registry API v2).

* :mod:`.reference` says what ``nginx:1.27`` stands for, :mod:`.policy` which
  registries this host may ask and how, :mod:`.credentials` as whom.
* :mod:`.tls`, :mod:`.challenge` and :mod:`.session` are the requests:
  certificates, authorization, redirects.
* :mod:`.blob` downloads one blob, through cut connections; :mod:`.pull` an image.

A registry is not trusted: what it sends is bounded and has the digest it was
asked for, and it cannot make hyperd talk to what the policy does not allow.
"""
