"""Line words: what every order line answers with."""

from __future__ import annotations

from enum import IntEnum


class Settled(IntEnum):
    """What became of a queued request."""

    NOTHING = 0  #: there is no news
    LEFT = 1  #: every byte left this host
    UNSENT = 2  #: not one byte left
    UNKNOWN = 3  #: some bytes left when the connection ended


#: `scan`: there is no message, or none that can be taken now.
NOTHING = -100
