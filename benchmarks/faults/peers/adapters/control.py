"""No peer: the script with the calls, which do nothing. What it prints is the run's truth."""

from __future__ import annotations

from peers.adapters.base import Adapter as Base


class Adapter(Base):
    """Does nothing."""
