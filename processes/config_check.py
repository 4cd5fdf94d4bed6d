"""Config check: proves a config as `start` would, and prints it resolved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from hft.bounds import ConfigBoundsError, prove_bounds
from hft.config import ConfigError, load
from hft.tables import build_tables
from processes.segments import bytes_needed
from strategies import registry
from strategies.contract import ContractError, resolve_params


def check(config_file: Path) -> dict[str, Any]:
    """Load and prove; raises ConfigError naming file, key, found and expected."""
    config = load(config_file)
    try:
        tables = build_tables(config)
        prove_bounds(tables.instrument_rows, tables.limit_rows, tables.firm)
        for strategy in config.strategies.values():
            resolve_params(registry.load(strategy.code), strategy.params)
    except (ConfigError, ConfigBoundsError, ContractError) as error:
        raise ConfigError(f"{config_file}: {error}") from error
    topology = config.topology()
    return {
        "file": str(config_file),
        "hash": config.hash(),
        "stages": [stage.name for stage in topology.stages],
        "rings": [ring.name for ring in topology.rings],
        "shm_bytes": bytes_needed(topology, len(tables.instruments)),
        "config": msgspec.to_builtins(config),
    }


def print_check(document: dict[str, Any]) -> None:
    """The resolved config, key by key."""
    click.echo(f"{document['file']}: good; hash {document['hash'][:16]}, {document['shm_bytes'] / 1e6:.1f} MB of shared memory")

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                walk(f"{prefix}.{key}" if prefix else key, inner)
        else:
            click.echo(f"  {prefix} = {value!r}")

    walk("", document["config"])
