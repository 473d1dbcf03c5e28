"""The reference of every command, made from the application itself; a hook of MkDocs, or `python` on this file.

What `--help` says is the one source: nothing here names a command or an option.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import typer

PAGE = "commands.md"
_EXAMPLE = re.compile(r"(?:Example|On several GPUs): (.*)", re.DOTALL)


def commands() -> Iterator[tuple[str, Any]]:
    """Yield each command's whole name and its parser, those of groups included."""
    (script,) = entry_points(group="console_scripts", name="hnet-dna")
    yield from _below(typer.main.get_command(script.load()), "hnet-dna")


def examples(command: Any) -> list[str]:
    """Return the example lines in a command's help."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")]
    return [paragraph[1] for paragraph in map(_EXAMPLE.fullmatch, paragraphs) if paragraph]


def reference() -> str:
    """Return the page as Markdown."""
    parts = [
        "# Commands\n\nMade from the application when this site is built; `hnet-dna COMMAND --help` says the same."
    ]
    for name, command in commands():
        paragraphs = (command.help or "").split("\n\n")
        text = [paragraph for paragraph in paragraphs if not _EXAMPLE.fullmatch(paragraph.strip())]
        context = typer.Context(command, info_name=name)
        parts.append(f"## {name.removeprefix('hnet-dna ')}\n\n" + html.escape("\n\n".join(text).strip(), quote=False))
        if lines := examples(command):
            parts.append("```bash\n" + "\n".join(lines) + "\n```")
        records = filter(None, (parameter.get_help_record(context) for parameter in command.get_params(context)))
        rows = [f"| `{_name(left)}` | {_meaning(right)} |" for left, right in records]
        parts.append("| Option | Meaning |\n|--|--|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def on_files(files: Any, config: Any) -> Any:
    """Add the page to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=reference()))
    return files


def _below(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, under in inner.items():
        yield from _below(under, f"{name} {word}")


def _name(text: str) -> str:
    """Return an option or argument as the table shows it: without the type that typer puts behind arguments."""
    return re.sub(r" <\w+>$", "", " ".join(text.split()))


def _meaning(text: str) -> str:
    return html.escape(" ".join(text.split()), quote=False).replace("|", "&#124;")


if __name__ == "__main__":
    print(reference())
