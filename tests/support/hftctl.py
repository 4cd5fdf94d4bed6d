"""Hftctl: the command line, run in this process."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from processes.cli import main
from processes.instance import Instance

OF_AN_INSTANCE = sorted(name for name, command in main.commands.items() if any(p.name == "instance" for p in command.params))


class Hftctl:
    """Runs commands in this process on a state folder of their own."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance

    def run(self, command: str, *arguments: str) -> Result:
        where = ["--instance", self.instance.name, "--state-dir", str(self.instance.state_dir)] if command in OF_AN_INSTANCE else []
        return ended(CliRunner().invoke(main, [command, *where, *arguments]))

    def document(self, command: str, *arguments: str) -> Any:
        """The one JSON document that a command prints."""
        result = self.run(command, *arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def refusal(self, code: int, command: str, *arguments: str) -> str:
        """The line on stderr with which a command ends."""
        result = self.run(command, *arguments)
        assert (result.exit_code, result.stdout) == (code, ""), result.output
        if code != 2:
            assert len(result.stderr.splitlines()) == 1 and result.stderr.startswith("hftctl: ")
        return result.stderr


def ended(result: Result) -> Result:
    """The result, if it is one that a command may have."""
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)[:400]
    assert result.exit_code in (0, 1, 2, 3) and "Traceback" not in result.stderr
    return result
