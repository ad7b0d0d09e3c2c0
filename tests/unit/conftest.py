"""Nova on native threads, as nova-compute runs: before anything can import eventlet."""

import os

os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "true")

from nova import monkey_patch

monkey_patch.patch()
