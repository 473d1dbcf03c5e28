"""Vectors: taken where they are said to be, pooled as said, and the same whatever they are run beside."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from helpers import lively_model, one_line_error, random_dna, small_config, write_fasta
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from typer.testing import Result

import hnet_dna
from hnet_dna.embedding.embedder import Embedder
from hnet_dna.embedding.inputs import Sequence as InputSequence
from hnet_dna.embedding.levels import level_names
from hnet_dna.embedding.table import TableWriter, read_table
from hnet_dna.errors import BusyError, SequenceError, UsageError
from hnet_dna.inference.load import untrained
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.codes import from_text

COMPLEMENT = str.maketrans("ACGT", "TGCA")
TEXTS = [random_dna(n, n) for n in (40, 1, 2, 333, 64, 65, 7, 120)]
LEVELS = ["encoder", "decoder", "chunk", "chunk:1"]
Cli = Callable[..., Result]


@pytest.fixture(scope="module")
def model() -> HNetLM:
    return lively_model(small_config())


@pytest.fixture
def folder(model: HNetLM, tmp_path: Path) -> Path:
    lively_model(small_config()).float().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def vectors_by_hand(model: HNetLM, text: str, level: str) -> tuple[np.ndarray, np.ndarray]:
    """Run the parts of the network one after the other, without hooks; return vectors and weights."""
    outer: Any = model.backbone
    ids = torch.tensor([["ACGT".index(c) for c in text]])
    taken: dict[str, torch.Tensor] = {}
    inner = outer.main_network
    modules: dict[str, Any] = {"encoder": outer.encoder, "decoder": outer.decoder}
    modules |= {"chunk": inner.decoder, "chunk:1": inner.main_network.main_network}
    originals = {name: module.forward for name, module in modules.items()}

    def watch(name: str) -> None:
        def forward(*arguments: object) -> object:
            result = originals[name](*arguments)
            taken[name] = result[0]
            return result

        modules[name].forward = forward

    for name in modules:
        watch(name)
    with torch.no_grad():
        output = model(ids)
    for name, module in modules.items():
        module.forward = originals[name]
    prob = output.stages[0].boundary_prob[0]
    weights = {"encoder": prob, "decoder": prob, "chunk": prob[output.stages[0].boundary_mask[0]]}
    one = output.stages[1]
    weights["chunk:1"] = one.boundary_prob[0][one.boundary_mask[0]]
    value = taken[level][0][: len(weights[level])]
    return value.numpy(), weights[level].numpy()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("pooling", ["mean", "max", "last", "boundary"])
def test_pooled_by_hand(model: HNetLM, level: str, pooling: Any) -> None:
    vectors = Embedder(model, level, pooling, "+").embed([from_text(text) for text in TEXTS])
    for text, vector in zip(TEXTS, vectors, strict=True):
        value, weight = vectors_by_hand(model, text, level)
        expected = {
            "mean": value.mean(axis=0),
            "max": value.max(axis=0),
            "last": value[-1],
            "boundary": (weight[:, None] * value).sum(axis=0) / weight.sum(),
        }[pooling]
        assert vector is not None
        np.testing.assert_allclose(vector, expected, atol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_result_does_not_depend_on_the_batch(model: HNetLM, level: str) -> None:
    together = hnet_dna.embed(model, TEXTS, level=level)
    alone = np.concatenate([hnet_dna.embed(model, [text], level=level) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    backwards = hnet_dna.embed(model, TEXTS[::-1], level=level)[::-1]
    np.testing.assert_allclose(together, backwards, atol=1e-5)


def test_long_sequences_are_streamed(model: HNetLM, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hnet_dna.embed(model, TEXTS)
    monkeypatch.setattr("hnet_dna.inference.stream.PIECE", 50)
    poolings: list[Any] = ["mean", "max", "last", "boundary"]
    for pooling in poolings:
        streamed = hnet_dna.embed(model, TEXTS[3:4], pooling=pooling, strand="+")
        value, weight = vectors_by_hand(model, TEXTS[3], "chunk")
        expected = {"mean": value.mean(axis=0), "max": value.max(axis=0), "last": value[-1]}
        expected["boundary"] = (weight[:, None] * value).sum(axis=0) / weight.sum()
        np.testing.assert_allclose(streamed[0], expected[pooling], atol=1e-5)
    np.testing.assert_allclose(hnet_dna.embed(model, TEXTS), whole, atol=1e-5)
    codes = [from_text(text) for text in TEXTS]
    alone, together = (
        np.array(Embedder(model, "encoder+chunk", "mean+last+bins:3", streams=streams).embed(codes))
        for streams in (1, 3)
    )
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_strands(model: HNetLM) -> None:
    flipped = [text.translate(COMPLEMENT)[::-1] for text in TEXTS]
    forward, reverse = hnet_dna.embed(model, TEXTS, strand="+"), hnet_dna.embed(model, flipped, strand="+")
    np.testing.assert_allclose(hnet_dna.embed(model, TEXTS, strand="-"), reverse, atol=1e-6)
    np.testing.assert_allclose(hnet_dna.embed(model, TEXTS), (forward + reverse) / 2, atol=1e-6)
    np.testing.assert_allclose(hnet_dna.embed(model, flipped), hnet_dna.embed(model, TEXTS), atol=1e-6)


def test_n_is_cut_out(model: HNetLM) -> None:
    left, right = TEXTS[0], TEXTS[4]
    joined = hnet_dna.embed(model, [left + "NNN" + right], strand="+", level="decoder")[0]
    parts = [vectors_by_hand(model, text, "decoder")[0] for text in (left, right)]
    np.testing.assert_allclose(joined, np.concatenate(parts).mean(axis=0), atol=1e-5)
    with pytest.raises(SequenceError, match="sequence 1 has no A, C, G or T"):
        hnet_dna.embed(model, ["ACGT", "NNNN"])
    with pytest.raises(SequenceError, match="sequence 0: 'L' is not a nucleotide letter"):
        hnet_dna.embed(model, ["MKL".replace("M", "A").replace("K", "C")])


def test_padding_stays_small(model: HNetLM) -> None:
    random = np.random.default_rng(0)
    embedder = Embedder(model)
    embedder.embed([from_text(random_dna(int(n), 1)) for n in random.integers(150, 250, size=300)])
    assert embedder.padded / embedder.run < 1.1


def test_levels_of_each_kind_of_model(model: HNetLM) -> None:
    assert level_names(model) == [*LEVELS, "letters"]
    isotropic = lively_model(small_config(arch_layout=["m2"], d_model=[24], d_intermediate=[0], attn_cfg={}))
    assert level_names(isotropic) == ["decoder", "letters"]
    assert hnet_dna.embed(isotropic, ["ACGT"], level="decoder").shape == (1, 24)
    with pytest.raises(UsageError, match="`level` 'chunk': this model has decoder"):
        hnet_dna.embed(isotropic, ["ACGT"])


def test_scikit_learn_pipeline(folder: Path) -> None:
    random = np.random.default_rng(0)
    texts = [
        "".join(random.choice(list("ACGT"), p=p, size=60)) for p in ([0.4, 0.1, 0.1, 0.4], [0.1, 0.4, 0.4, 0.1]) * 20
    ]
    labels = [0, 1] * 20
    embedder = hnet_dna.SequenceEmbedder(folder)
    assert clone(embedder).get_params() == embedder.get_params()
    classifier = make_pipeline(embedder, LogisticRegression(max_iter=1000))
    search = GridSearchCV(classifier, {"sequenceembedder__pooling": ["mean", "max"]}, cv=2)
    search.fit(texts, labels)
    assert search.best_score_ > 0.9


def test_one_text_is_no_list_of_sequences(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"write \[sequence\]"):
        hnet_dna.SequenceEmbedder(folder).transform("ACGT")


def test_cli_tables(cli: Cli, tmp_path: Path, folder: Path) -> None:
    records = {"a": random_dna(100), "n": "NNNN", "b": random_dna(50, 1) + "N" + random_dna(20, 2)}
    fasta = write_fasta(tmp_path / "s.fa", records)
    out = tmp_path / "v.parquet"
    result = cli("embed", fasta, "--model", folder, "--out", out)
    assert result.exit_code == 0, result.output
    assert "1 sequence without any A, C, G or T left out: n" in result.stderr
    table = read_table(out)
    assert table.id == ["a", "b"]
    model = HNetLM.from_pretrained(folder)
    np.testing.assert_allclose(table.vector, hnet_dna.embed(model, [records["a"], records["b"]]), atol=1e-5)
    assert table.metadata["model_digest"] == model.digest()
    assert cli("embed", fasta, "--model", folder, "--out", tmp_path / "v.npy").exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "v.npy"), table.vector)
    assert (tmp_path / "v.ids.txt").read_text() == "a\nb\n"
    anndata = pytest.importorskip("anndata")
    assert cli("embed", fasta, "--model", folder, "--out", tmp_path / "v.h5ad").exit_code == 0
    data = anndata.read_h5ad(tmp_path / "v.h5ad")
    np.testing.assert_array_equal(data.X, table.vector)
    assert list(data.obs["id"]) == ["a", "b"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".v")]


def test_cli_inputs(cli: Cli, tmp_path: Path, folder: Path) -> None:
    fasta = write_fasta(tmp_path / "g.fa", {"a": random_dna(300)})
    text = random_dna(300)
    (tmp_path / "r.bed").write_text("a\t10\t60\tx\na\t100\t130\t.\n")
    out = tmp_path / "v.parquet"
    assert cli("embed", fasta, "--model", folder, "--out", out, "--regions", tmp_path / "r.bed").exit_code == 0
    table = read_table(out)
    assert table.id == ["x", "a:100-130"]
    assert table.start.tolist() == [10, 100]
    csv = tmp_path / "t.csv"
    csv.write_text(f"name,Seq,label\nfirst,{text[10:60]},1\nsecond,{text[100:130]},0\n")
    assert cli("embed", csv, "--model", folder, "--out", tmp_path / "t.parquet").exit_code == 0
    again = read_table(tmp_path / "t.parquet")
    assert again.id == ["first", "second"]
    np.testing.assert_allclose(again.vector, table.vector, atol=1e-6)
    odd = tmp_path / "odd.tsv"
    odd.write_text("id\tsequence\nempty\t\none\tA\nonly_n\tNNNN\nlast\tACGT\n")
    left_out = cli("embed", odd, "--model", folder, "--out", tmp_path / "odd.parquet")
    assert left_out.exit_code == 0, left_out.output
    assert "2 sequences without any A, C, G or T left out: empty, only_n" in left_out.stderr
    assert read_table(tmp_path / "odd.parquet").id == ["one", "last"]
    assert "more than once" not in left_out.stderr
    (tmp_path / "twice.bed").write_text("a\t10\t60\tx\na\t70\t90\ty\na\t100\t130\tx\n")
    twice = cli("embed", fasta, "--model", folder, "--out", out, "--regions", tmp_path / "twice.bed", "--per-chunk")
    assert "1 id given more than once, by which no label can be matched: x\n" in twice.stderr
    bad = cli("embed", csv, "--model", folder, "--out", out, "--sequence", "sequense")
    assert bad.exit_code == 2
    assert "no column 'sequense'" in one_line_error(bad)
    csv.write_text(f"{text}\n{text}\n")
    bad = cli("embed", csv, "--model", folder, "--out", out)
    assert bad.exit_code == 1
    assert f"no column of sequences among {text[:20]}...; name it by --sequence, or is" in one_line_error(bad)


def test_regions_are_read_on_their_strand(cli: Cli, tmp_path: Path, folder: Path) -> None:
    """A region on `-` is the reverse complement of its place; --strand counts from there."""
    text = random_dna(120) + "NN" + random_dna(80, 1)
    fasta = write_fasta(tmp_path / "g.fa", {"a": text})
    (tmp_path / "r.bed").write_text("a\t100\t150\tup\t0\t+\na\t100\t150\tdown\t0\t-\na\t100\t150\tno\t0\t.\n")
    turned = text[100:150][::-1].translate(COMPLEMENT)
    command = ["embed", fasta, "--model", folder, "--regions", tmp_path / "r.bed", "--out"]
    model = HNetLM.from_pretrained(folder)
    for strand in ("+", "-", "both"):
        assert cli(*command, tmp_path / "v.parquet", "--strand", strand).exit_code == 0
        table = read_table(tmp_path / "v.parquet")
        wanted = hnet_dna.embed(model, [text[100:150], turned, text[100:150]], strand=strand)
        np.testing.assert_allclose(table.vector, wanted, atol=1e-6)
        assert table.strand == ["+", "-", "."]
        # Both strands' mean does not depend on which of them is read first.
        assert np.allclose(table.vector[0], table.vector[1], atol=1e-6) == (strand == "both")
    assert cli(*command, tmp_path / "c.parquet", "--per-chunk").exit_code == 0
    rows = pq.read_table(tmp_path / "c.parquet").to_pylist()
    down = [(row["start"], row["end"]) for row in rows if row["id"] == "down"]
    alone = write_fasta(tmp_path / "alone.fa", {"t": turned})
    bed = [line.split("\t") for line in cli("segment", alone, "--model", folder).stdout.splitlines()]
    assert down == [(150 - int(end), 150 - int(start)) for _, start, end, *_ in bed]
    (tmp_path / "r.bed").write_text("a\t0\t9\tx\t0\tplus\n")
    bad = cli(*command, tmp_path / "w.parquet")
    assert bad.exit_code == 1
    assert "line 1: expected +, - or . as strand (column 6), got 'plus'" in one_line_error(bad)


def test_cli_chunks_tile_their_sequences(cli: Cli, tmp_path: Path, folder: Path) -> None:
    fasta = write_fasta(tmp_path / "s.fa", {"a": random_dna(90) + "NN" + random_dna(40, 1), "b": "A"})
    out = tmp_path / "c.parquet"
    result = cli("embed", fasta, "--model", folder, "--out", out, "--per-chunk")
    assert result.exit_code == 0, result.output
    rows = pq.read_table(out).to_pylist()
    places = [(r["start"], r["end"]) for r in rows if r["id"] == "a"]
    bed = cli("segment", fasta, "--model", folder).stdout.splitlines()
    chunks = [tuple(map(int, line.split("\t")[1:3])) for line in bed if line.startswith("a\t")]
    assert places == chunks
    assert [r["index"] for r in rows if r["id"] == "a"] == list(range(len(chunks)))


def sequences_for_table(count: int, **changed: str) -> list[InputSequence]:
    texts = {str(i): random_dna(20, i) for i in range(count)} | changed
    return [InputSequence(name, from_text(text), name, 0, len(text), len(text)) for name, text in texts.items()]


def fill(writer: TableWriter, sequences: list[InputSequence], at_once: int = 2, stop: int = 1000) -> None:
    """Add a row for each sequence that has not been added, some at once, at most `stop` of them."""
    unread = islice(writer.unread(sequences), stop)
    while batch := list(islice(unread, at_once)):
        rows = [{"id": s.id, "contig": s.id, "start": 0, "end": s.end, "vector": np.full(3, int(s.id))} for s in batch]
        writer.add(rows, len(batch))


SETTINGS = {"model": "a", "model_digest": "x", "level": "chunk"}


def test_resume_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    place, sequences = tmp_path / "v.parquet", sequences_for_table(7)
    with TableWriter(place, 3, SETTINGS) as writer:
        fill(writer, sequences, stop=4)
    with TableWriter(place, 3, {**SETTINGS, "model": "moved"}, resume=True) as again:
        assert (again.inputs, again.rows) == (4, 4)
        fill(again, sequences)
        again.finish()
    assert read_table(place).id == [str(i) for i in range(7)]
    assert not (tmp_path / ".v.parquet.parts").exists()
    with TableWriter(tmp_path / "e.parquet", 3, SETTINGS) as empty:
        empty.add([], 5)
    assert not (tmp_path / ".e.parquet.parts").exists()


@pytest.mark.parametrize(
    ("sequences", "problem"),
    [
        (sequences_for_table(7, **{"2": random_dna(20, 99)}), "other sequences than the first 4"),  # edited
        (sequences_for_table(7)[1:], "other sequences than the first 4"),  # a record is gone
        (sequences_for_table(3), "other sequences than the first 4"),  # fewer than are there already
        (sequences_for_table(7, **{"6": random_dna(20, 99)}), None),  # what had not been read may change
    ],
)
def test_resume_takes_the_same_sequences_only(
    sequences: list[InputSequence], problem: str | None, tmp_path: Path
) -> None:
    place = tmp_path / "v.parquet"
    with TableWriter(place, 3, SETTINGS) as writer:
        fill(writer, sequences_for_table(7), stop=4)
    with TableWriter(place, 3, SETTINGS, resume=True) as again:
        if problem is None:
            fill(again, sequences)
        else:
            with pytest.raises(SequenceError, match=problem):
                fill(again, sequences)
    with pytest.raises(UsageError, match=r"begun with other settings \(level\)"):
        TableWriter(place, 3, {**SETTINGS, "level": "decoder"}, resume=True).__enter__()
    with TableWriter(place, 3, SETTINGS) as fresh:
        assert fresh.inputs == 0


def test_two_jobs_do_not_share_a_table(tmp_path: Path) -> None:
    place = tmp_path / "v.parquet"
    with TableWriter(place, 3, SETTINGS) as writer:
        fill(writer, sequences_for_table(2))
        for resume in (False, True):
            with pytest.raises(BusyError, match=f"another process is working there .process {os.getpid()} on"):
                TableWriter(place, 3, SETTINGS, resume=resume).__enter__()
        fill(writer, sequences_for_table(4)[2:])
        writer.finish()
    assert read_table(place).id == ["0", "1", "2", "3"]
    with TableWriter(place, 3, SETTINGS) as after:  # the lock is gone with its holder
        assert after.inputs == 0


def test_tables_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"no")
    pq.write_table(pa.table({"a": [1]}), str(tmp_path / "y.parquet"))
    for name, message in (("x", "not a readable Parquet file"), ("y", "not a table made by"), ("z", "no such file")):
        with pytest.raises(SequenceError, match=message):
            read_table(tmp_path / f"{name}.parquet")
    with pytest.raises(UsageError, match=r"ends in \.parquet, \.npy, \.h5ad"):
        TableWriter(tmp_path / "x.csv", 3, {})


def test_vectors_follow_a_model_that_is_trained_on(tmp_path: Path) -> None:
    """A pipeline in a notebook keeps its transformer while the run in the folder goes on."""
    folder, text = tmp_path / "m", [random_dna(60)]
    lively_model(small_config(), 1).float().save_pretrained(folder)
    transformer = hnet_dna.SequenceEmbedder(folder)
    before = transformer.fit(text).transform(text)
    later = lively_model(small_config(), 2).float()
    later.save_pretrained(folder)
    after = transformer.transform(text)
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, hnet_dna.embed(later, text), atol=1e-6)


def test_embedding_leaves_model_and_random_numbers_as_they_were() -> None:
    model = lively_model(small_config()).float().train()
    model.backbone.eval()
    before = {name: module.training for name, module in model.named_modules()}
    hnet_dna.embed(model, [random_dna(40)])
    assert {name: module.training for name, module in model.named_modules()} == before
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    untrained(small_config())
    assert torch.equal(torch.rand(3), expected)


def test_digest_of_bfloat16() -> None:
    model = lively_model(small_config()).bfloat16()
    again = lively_model(small_config()).bfloat16()
    assert model.digest() == again.digest() != lively_model(small_config()).float().digest()


def test_a_genome_with_other_bases_is_refused(cli: Callable[..., Result], tmp_path: Path) -> None:
    """Names and lengths agree; one letter differs."""
    text = random_dna(4000)
    genome = write_fasta(tmp_path / "g.fa", {"chr1": text})
    other = write_fasta(tmp_path / "o.fa", {"chr1": text[:150] + ("A" if text[150] != "A" else "C") + text[151:]})
    (tmp_path / "r.bed").write_text("".join(f"chr1\t{i * 100}\t{i * 100 + 80}\tr{i}\n" for i in range(40)))
    (tmp_path / "l.csv").write_text("id,label\n" + "".join(f"r{i},{'ab'[i % 2]}\n" for i in range(40)))
    table = tmp_path / "v.parquet"
    assert cli("embed", genome, "--regions", tmp_path / "r.bed", "--out", table).exit_code == 0
    arguments = ("probe", tmp_path / "l.csv", "--embeddings", table, "--head", "ridge")
    refused = cli(*arguments, "--genome", other, "--out", tmp_path / "p1")
    assert refused.exit_code == 1
    assert "o.fa has other bases at chr1:101-180 than the sequence that row r1" in one_line_error(refused)
    assert cli(*arguments, "--genome", genome, "--out", tmp_path / "p2").exit_code == 0
