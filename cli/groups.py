"""Groups of commands, as both the application and `hnet-dna genome` are."""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import Any

from typer.core import TyperGroup

_CHOSEN = "hnet_dna.command"


class Commands(TyperGroup):
    """Commands whose help shows no types: not of flags, as if they took a value, and not of arguments."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command of this name."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _untyped([*command.params, command.get_help_option(ctx)])
            parameters: list[Any] = command.params
            for argument in (one for one in parameters if one.param_type_name == "argument"):
                argument.display_type_rich = _no_type  # `<list[Path]>`, where the text says what it is
        ctx.meta[_CHOSEN] = command  # of a group within a group the inner one, which is chosen last
        return command

    def get_params(self, ctx: Any) -> Any:
        """Return the options of the group itself."""
        return _untyped(super().get_params(ctx))


def _no_type(ctx: Any = None) -> None:
    return None


def _untyped(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


def with_options(message: str, ctx: Any) -> str:
    """Replace parameters that a message names in backticks by the options of the command that was chosen.

    The library knows no options; it writes `held_out` where a user of the command line wrote --held-out.
    """
    names: dict[str, str] = {}
    for parameter in getattr(ctx.meta.get(_CHOSEN), "params", ()):
        long = [option for option in parameter.opts if option.startswith("--")]
        names[parameter.name] = long[0] if long else (parameter.metavar or parameter.name.upper()).strip(".")
        if parameter.secondary_opts:
            names[f"{parameter.name}=False"] = parameter.secondary_opts[0]
    return re.sub(r"`(\w+(?:=False)?)`", lambda match: names.get(match[1], match[1]), message)


def paragraphs(text: str) -> str:
    """Join the lines of each paragraph, so that a terminal breaks them where it ends."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in cleandoc(text).split("\n\n"))
