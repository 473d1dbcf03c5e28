"""Groups of commands, as both the application and `hnet-dna genome` are."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class Commands(TyperGroup):
    """Commands whose flags are shown without a type, as if they took a value."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command of this name."""
        command = super().get_command(ctx, cmd_name)
        for parameter in getattr(command, "params", ()):
            if getattr(parameter, "is_flag", False):
                parameter.metavar = ""
        return command
