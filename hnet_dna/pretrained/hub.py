"""Models on the Hugging Face hub: their names, and fetching them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from hnet_dna.errors import CheckpointError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


def is_hub_name(text: str) -> bool:
    """Tell whether text has the form owner/name. A relative folder may have it too."""
    return _NAME.fullmatch(text) is not None


def download(name: str, files: Sequence[str], revision: str | None = None, **options: Any) -> Path:
    """Fetch these files of a model, and no others, into the hub's cache; return the folder that holds them.

    Args:
        name: owner/name.
        files: names of the files to fetch; one that the model lacks is left out.
        revision: branch, tag or commit; None is the newest.
        options: of `huggingface_hub.snapshot_download`, such as token, cache_dir, local_files_only.
    """
    with explaining_failures(f"{name}: no such model folder here, and from the hub", revision):
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(files), **options))


@contextmanager
def explaining_failures(what: str, revision: str | None = None) -> Iterator[None]:
    """Turn whatever the hub fails with into one line that begins with `what`."""
    try:
        yield
    except TypeError:
        raise  # an option that does not exist: the caller's bug
    except RevisionNotFoundError:
        raise CheckpointError(f"{what}: it has no revision {revision!r}") from None
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"{what}: no such model; check the spelling, and for a private or gated one run: hf auth login"
        ) from None
    # The hub's errors have no common base, and change with its version and its HTTP library.
    except Exception as error:
        first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        first = first.strip().removeprefix("Got: ")
        raise CheckpointError(f"{what}: {first}; is there a connection to the hub?") from None
