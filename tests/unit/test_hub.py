"""Models on the hub, without a network: what is uploaded, what is asked for, and how failures read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import lively_model, one_line_error, small_config, write_fasta
from huggingface_hub import HfApi, ModelHubMixin
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from typer.testing import Result

from hnet_dna import HNetLM
from hnet_dna.errors import CheckpointError
from hnet_dna.pretrained import hub


@pytest.fixture
def model() -> HNetLM:
    return lively_model(small_config()).float()


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What push_to_hub sends; nothing leaves this machine."""
    sent: dict[str, Any] = {}

    def create_repo(self: HfApi, repo_id: str, **options: Any) -> SimpleNamespace:
        sent["private"] = options["private"]
        return SimpleNamespace(repo_id=repo_id)

    def upload_folder(self: HfApi, *, repo_id: str, folder_path: Path, **options: Any) -> str:
        sent["repo_id"] = repo_id
        sent["files"] = {path.name: path.read_bytes() for path in Path(folder_path).rglob("*") if path.is_file()}
        return f"https://hub/{repo_id}/commit/1"

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    return sent


def hub_error(kind: type[Exception]) -> Exception:
    """An error of the hub as it is raised, whichever HTTP library carries it."""
    error = kind.__new__(kind)
    Exception.__init__(error, "404 Client Error.\n\nNot Found for url: x")
    return error


def test_mixin_keeps_the_folder_as_it_was(model: HNetLM, tmp_path: Path) -> None:
    assert isinstance(model, ModelHubMixin)
    assert model.save_pretrained(tmp_path / "m") is None
    assert {path.name for path in (tmp_path / "m").iterdir()} == {"config.json", "model.safetensors"}
    again = HNetLM.from_pretrained(tmp_path / "m")
    assert (again.config, again.digest(), again.card) == (model.config, model.digest(), None)


def test_push_uploads_weights_config_and_card(model: HNetLM, tmp_path: Path, uploads: dict[str, Any]) -> None:
    folder = tmp_path / "run"
    model.save_pretrained(folder)
    (folder / "README.md").write_text("# the card\n")
    (folder / "run.json").write_text("{}")  # names folders of this machine: stays here
    url = HNetLM.from_pretrained(folder).push_to_hub("owner/name", private=True)
    assert url == "https://hub/owner/name/commit/1"
    assert (uploads["repo_id"], uploads["private"]) == ("owner/name", True)
    assert set(uploads["files"]) == {"config.json", "model.safetensors", "README.md"}
    for name, content in uploads["files"].items():
        assert content == (folder / name).read_bytes(), name


def test_push_without_a_card(model: HNetLM, tmp_path: Path, uploads: dict[str, Any]) -> None:
    model.save_pretrained(tmp_path / "m", push_to_hub=True, repo_id="owner/name")
    assert set(uploads["files"]) == {"config.json", "model.safetensors", "README.md"}
    assert b"library_name: hnet-dna" in uploads["files"]["README.md"]
    assert HNetLM.from_pretrained(tmp_path / "m").digest() == model.digest()


def test_failed_push_is_one_line(model: HNetLM, monkeypatch: pytest.MonkeyPatch) -> None:
    def create_repo(self: HfApi, **options: Any) -> None:
        raise ConnectionError("no route to host\nsecond line")

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    with pytest.raises(CheckpointError, match="owner/name: not uploaded to the hub: no route to host;"):
        model.push_to_hub("owner/name")
    with pytest.raises(TypeError):
        model.push_to_hub("owner/name", colour="red")


def test_hub_name_fetches_two_files(model: HNetLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save_pretrained(tmp_path / "cache")
    asked: dict[str, Any] = {}

    def snapshot_download(name: str, **options: Any) -> str:
        asked.update(options, name=name)
        return str(tmp_path / "cache")

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    again = HNetLM.from_pretrained("owner/name", revision="v1", token="t")
    assert again.digest() == model.digest()
    assert asked == {
        "name": "owner/name",
        "revision": "v1",
        "token": "t",
        "allow_patterns": ["config.json", "model.safetensors"],
    }
    (tmp_path / "cache/model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        HNetLM.from_pretrained("owner/name")
    with pytest.raises(CheckpointError, match="only names on the hub have revisions"):
        HNetLM.from_pretrained(tmp_path / "cache", revision="v1")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (hub_error(RepositoryNotFoundError), "no such model; check the spelling, and for a private or gated one"),
        (hub_error(RevisionNotFoundError), "it has no revision 'v1'"),
        (LocalEntryNotFoundError("Got: ConnectError\nmore"), "hub: ConnectError; is there a connection"),
        (RuntimeError(""), "RuntimeError; is there"),
    ],
)
def test_failed_download_is_one_line(
    cli: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def snapshot_download(name: str, **options: Any) -> str:
        raise error

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    with pytest.raises(CheckpointError, match="owner/name: no such model folder here, and from the hub") as caught:
        HNetLM.from_pretrained("owner/name", revision="v1")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    fasta = write_fasta(tmp_path / "x.fa", {"a": "ACGT"})
    result = cli("segment", fasta, "--model", "owner/name")
    assert result.exit_code == 1
    assert "no such model folder here, and from the hub" in one_line_error(result)


@pytest.mark.parametrize("name", ["name", "a/b/c", "/a/b", "../b", "./b", "a/", "a b/c"])
def test_what_is_no_hub_name_is_never_asked_for(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    monkeypatch.chdir(tmp_path)
    assert not hub.is_hub_name(name)
    with pytest.raises(CheckpointError, match=r"no such model folder; .* a name on the hub as owner/name"):
        HNetLM.from_pretrained(name)
