"""Config check: proves a config as `start` would, and prints it resolved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from hft.bounds import ConfigBoundsError, prove_bounds
from hft.config import Config, ConfigError, load, with_absolute_paths
from hft.tables import build_tables
from processes.errors import EngineError
from processes.segments import bytes_needed
from processes.transport.stream import tls_context
from strategies import registry
from strategies.contract import ContractError, resolve_params


def load_with_authorities(config_file: Path) -> Config:
    """The config, and proof that the CA files it names can be used here. Raises ConfigError naming file, key and path."""
    config = load(config_file)
    for name, venue in with_absolute_paths(config, config_file.resolve().parent).venues.items():
        # A simulator brings its own authority, or needs none.
        if venue.ca_file is not None and venue.simulator is None:
            try:
                tls_context(Path(venue.ca_file))
            except EngineError as error:
                raise ConfigError(f"{config_file}: venues.{name}.ca_file: {error}") from error
    return config


def check(config_file: Path) -> dict[str, Any]:
    """Load and prove; raises ConfigError naming file, key, found and expected."""
    config = load_with_authorities(config_file)
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
