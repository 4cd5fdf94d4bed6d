"""Options and output that commands of hftctl share."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import click

from processes.errors import EngineError
from processes.instance import Instance


class Group(click.Group):
    """Turns engine errors into one line and an exit code, and survives a closed stdout."""

    def invoke(self, ctx: click.Context) -> Any:
        from hft.config import ConfigError
        from shm.segment import SegmentError

        try:
            return super().invoke(ctx)
        except (EngineError, ConfigError, SegmentError) as error:
            click.echo(f"hftctl: {error}", err=True)
            ctx.exit(getattr(error, "exit_code", 1))
        except OSError as error:
            if error.filename is None:  # Not about a file: a closed stdout, which click handles, or our own mistake.
                raise
            click.echo(f"hftctl: {error.filename}: {error.strerror}", err=True)
            ctx.exit(1)


class Numbers(click.FloatRange):
    """A range of floats that, unlike click's, does not hold NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def instance_option(command: Any) -> Any:
    """--instance and --state-dir, given to the command as `instance`."""

    def make(ctx: click.Context, param: click.Parameter, value: str) -> Instance:
        return Instance(value, ctx.params.pop("state_dir", None))

    command = click.option("--instance", default="default", callback=make, metavar="NAME", help="Which engine on this host.")(command)
    return click.option(
        "--state-dir", type=click.Path(path_type=Path, file_okay=False), is_eager=True, help="Folder of all instances' state."
    )(command)


def as_utf8(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """What is no UTF-8 in an argument becomes `?`: a reason goes into a JSON file, and must not keep a kill from being latched."""
    return value.encode("utf-8", "replace").decode()


config_option = click.option("--config", "config_file", required=True, type=click.Path(path_type=Path), help="The engine's TOML file.")
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


def emit(document: dict[str, Any], as_json: bool, table: Any) -> None:
    """Print a document as JSON, or with `table(document)`."""
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        table(document)
