"""Config of a guardian: what is proved of it besides its types.

Wherever orders rest at a venue, its guardian has a key of its own: a key that is revoked, banned or out of step with the engine is no guard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def prove_guardian(config: Any, trading: Mapping[str, Any], fail: Any) -> None:
    """Check the guardian of a Config; `trading` are its executions at venues, and `fail(key, message)` raises ConfigError."""
    guardian = config.guardian
    if guardian is None:
        if config.engine.mode == "live":
            fail("guardian", 'missing: mode = "live" needs one, to cancel at the venues when the engine cannot')
        return
    if guardian.heartbeat_max_ms <= config.engine.heartbeat_timeout_ms:
        least = config.engine.heartbeat_timeout_ms
        fail("guardian.heartbeat_max_ms", f"must be over engine.heartbeat_timeout_ms ({least}): the engine mends itself first")
    for name in guardian.credentials:
        if name not in trading:
            fail(f"guardian.credentials.{name}", f"no orders go to it; they go to {', '.join(trading) or 'no venue'}")
    for name, section in trading.items():
        key = guardian.credentials.get(name)
        if key is None and config.venues[name].simulator is None:
            fail(f"guardian.credentials.{name}", "missing: only a simulator has keys of its own")
        if key is not None and key == section.credentials:
            fail(f"guardian.credentials.{name}", "is the key of the engine; a guardian needs one of its own")
