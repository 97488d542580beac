"""The peers: which package, which release, how it is installed, and why one is not.

Standard library only: read by the runner, and by the peer's own Python.
"""

from __future__ import annotations

from dataclasses import dataclass

CONTROL = "control"
"""Name of the run without a peer: the same script with the same calls, which then do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One tool.

    Attributes:
        name: as it stands in results, and of its module in `adapters`.
        package: what pip is asked for, release included.
        without_dependencies: why pip is told to leave them out; "" where it is not.
        refused: why it is not installed and not run; "" where it is.
    """

    name: str
    package: str
    without_dependencies: str = ""
    refused: str = ""


PEERS = (
    Peer(name="runmedic", package="runmedic==0.1.1"),
    Peer(name="traintools", package="traintools[full]==0.6.2"),
    Peer(name="torchtest2", package="torchtest2==0.1.0"),
    Peer(name="torch-audit", package="torch-audit==0.3.0"),
    Peer(name="torchdiag", package="torchdiag==0.1.0"),
    Peer(name="gradsnitch", package="gradsnitch==0.1.0"),
    Peer(name="training-doctor", package="training-doctor==0.1.0"),
    Peer(
        name="torcheck",
        package="torcheck==1.0.1",
        without_dependencies="it asks for torch < 2, which is older than the numpy and the "
        "torchvision of the scripts; its own code uses nothing that torch 2 changed",
    ),
    Peer(
        name="pulseml",
        package="pulseml==1.3.14",
        refused="proprietary: its licence grants installing and running it for one's own internal "
        "use and forbids using it to build a competing product; a published comparison is neither",
    ),
)


def peer_named(name: str) -> Peer:
    """The peer of this name.

    Raises:
        KeyError: there is none.
    """
    return {peer.name: peer for peer in PEERS}[name]
