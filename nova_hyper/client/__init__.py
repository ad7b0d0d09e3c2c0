"""Client of hyperd: the unix-socket transport, one typed method per call, the event stream."""

from nova_hyper.client.client import HyperClient
from nova_hyper.client.events import EventStream, Lost
from nova_hyper.client.protocol import Hyperd

__all__ = ["EventStream", "HyperClient", "Hyperd", "Lost"]
