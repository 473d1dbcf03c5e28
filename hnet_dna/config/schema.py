"""The model's configuration: one strict, frozen value, a superset of the reference's JSON.

Every per-stage field is a tuple with one entry per stage, outermost first; a scalar in the JSON is shared by all
stages. Field names are the reference's, so that a reference config is a valid one here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias, get_args

from hnet_dna.config.layout import LayerSpec, Layout, inner_layout, layout_text, n_stages, parse_layout, parse_stack
from hnet_dna.config.values import LARGEST, choice, integer, json_object, readers, refuse_unknown, several, text
from hnet_dna.errors import ConfigError, shown

MODEL_TYPE = "hnet_dna"  # in `config.json` it tells Hugging Face transformers whose model this is
MLP_MULTIPLE = 128  # the reference rounds the MLP's width up to this
MAX_KMER = 8  # 65,536 k-mers
TABLE_ORDERS = (2, 11)  # four million rows
WORD_ORDERS = (8, 30)  # with the base after it, a word is a number of 64 bits

_WIDEST = 65_536  # keeps a slip of the finger from asking for terabytes

Routing = Literal["cosine", "linear", "fixed", "random"]
# Of the kind of layer that a stage has not, anything may be said: a size of 0 too.
_Sizes: TypeAlias = Annotated[tuple[int, ...], several(integer(0, _WIDEST), least=1)]


def _alphabet(path: str, value: Any) -> str | None:
    return None if value is None else text(path, value)


@dataclass(frozen=True)
class StageConfig:
    """Everything that one stage needs, resolved from `ModelConfig`."""

    d_model: int
    d_intermediate: int
    d_state: int
    d_conv: int
    expand: int
    head_dim: int
    num_heads: int
    rotary_emb_dim: int
    rotary_period: int
    window_size: int
    routing: Routing
    stride: int
    max_chunk: int

    @property
    def is_learned(self) -> bool:
        """Whether the router learns where chunks begin."""
        return self.routing in ("cosine", "linear")

    @property
    def d_inner(self) -> int:
        """Width inside a Mamba-2 mixer."""
        return self.expand * self.d_model

    @property
    def mlp_width(self) -> int:
        """`d_intermediate`, rounded up to a multiple of 128 as the reference does."""
        return -(-self.d_intermediate // MLP_MULTIPLE) * MLP_MULTIPLE


@dataclass(frozen=True)
class ModelConfig:
    """Shape of an H-Net.

    Attributes:
        layout: nested tuples, see `hnet_dna.config.layout`.
        d_model: width of each stage; an inner stage is at least as wide as the outer one.
        d_intermediate: MLP width of each stage (0 where no layer has an MLP).
        vocab_size: number of token ids.
        alphabet: name of the alphabet that gives the ids their letters (see `hnet_dna.sequence.alphabet`), or None
            for a model whose ids have no letters.
        tie_embeddings: the head is the embedding's transpose.
        kmer: an isotropic model reads k-mers of this many bases in place of single bases (see
            `hnet_dna.model.kmers`); its `window_size` then counts k-mers. 0 reads bases.
        d_state, d_conv, expand, head_dim: Mamba-2, per stage.
        chunk_size: tile of the scan; it changes speed, never the result.
        num_heads, rotary_emb_dim, window_size: attention, per stage; a window W sees W earlier positions and itself,
            -1 sees all.
        rotary_period: attention, per stage: the shortest period of the rotation in positions, 3 for codons; 0 is the
            reference's, 2 pi. Periods grow from it by a factor of up to 10,000.
        routing: who sets boundaries, per stage: `cosine` is the H-Net; `linear` scores each position by itself;
            `fixed` sets one every `stride` positions, `random` one in `stride` by a hash of the position (controls).
        stride: of `fixed` and `random`, per stage.
        max_chunk: a boundary is forced where a chunk would grow longer, per stage; 0 never forces. Streams and
            windows force the same boundaries.
        smoothing: chunks come back through the moving average (False: as they are).
        straight_through: the confidence of the decision scales only gradients (False: also the values).
        table_orders: k of the memory's trained tables of k-mers (see `hnet_dna.model.memory`); empty for none.
        table_width: numbers per k-mer in these tables.
        word_orders: k of the memory's counted words; empty for none.
        max_words: the most words that are kept for each of these k, those counted most often first.
    """

    layout: Layout
    d_model: Annotated[tuple[int, ...], several(integer(1, _WIDEST), least=1)]
    d_intermediate: Annotated[tuple[int, ...], several(integer(0, 16 * _WIDEST), least=1)]
    vocab_size: Annotated[int, integer(1, 16 * _WIDEST)]
    alphabet: Annotated[str | None, _alphabet] = None
    tie_embeddings: bool = False
    kmer: Annotated[int, integer(-LARGEST)] = 0  # `_check_kmer` says what it may be
    d_state: _Sizes = (128,)
    d_conv: _Sizes = (4,)
    expand: Annotated[tuple[int, ...], several(integer(0, 64), least=1)] = (2,)
    head_dim: _Sizes = (64,)
    chunk_size: Annotated[int, integer(1, _WIDEST)] = 64
    num_heads: _Sizes = (8,)
    rotary_emb_dim: _Sizes = (0,)
    rotary_period: Annotated[tuple[int, ...], several(integer(0), least=1)] = (0,)
    window_size: Annotated[tuple[int, ...], several(integer(-1), least=1)] = (-1,)
    routing: Annotated[tuple[Routing, ...], several(choice(get_args(Routing)), least=1)] = ("cosine",)
    stride: Annotated[tuple[int, ...], several(integer(2), least=1)] = (3,)
    max_chunk: Annotated[tuple[int, ...], several(integer(0), least=1)] = (0,)
    smoothing: bool = True
    straight_through: bool = True
    table_orders: Annotated[tuple[int, ...], several(integer(*TABLE_ORDERS))] = ()
    table_width: Annotated[int, integer(1, _WIDEST)] = 16
    word_orders: Annotated[tuple[int, ...], several(integer(*WORD_ORDERS))] = ()
    max_words: Annotated[int, integer(1)] = 1_000_000
    _stages: tuple[StageConfig, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        count = n_stages(self.layout)
        for name in _PER_STAGE:
            values = getattr(self, name)
            if len(values) == 1 and name not in ("d_model", "d_intermediate"):
                object.__setattr__(self, name, values * count)
            elif len(values) != count:
                raise ConfigError(
                    f"{setting_path(name)}: the layout has {count} stages, {name} has {len(values)} entries: "
                    f"{shown(values)}"
                )
        stages = tuple(StageConfig(**{name: getattr(self, name)[s] for name in _PER_STAGE}) for s in range(count))
        object.__setattr__(self, "_stages", stages)
        self._check()

    @property
    def n_stages(self) -> int:
        """Number of stages, the innermost included."""
        return len(self._stages)

    def stage(self, index: int) -> StageConfig:
        """Return the resolved shape of stage `index`, 0 outermost."""
        return self._stages[index]

    @property
    def has_global_attention(self) -> bool:
        """Whether any attention layer sees all earlier positions, so that a stream's state grows with its length."""
        layout: Layout | None = self.layout
        for stage in self._stages:
            assert layout is not None
            stacks = (parse_stack(part) for part in layout if isinstance(part, str))
            if stage.window_size < 0 and any(layer.mixer == "attention" for stack in stacks for layer in stack):
                return True
            layout = inner_layout(layout)
        return False

    def _check(self) -> None:
        self._check_kmer()
        self._check_memory()
        layout: Layout | None = self.layout
        previous = 0
        for index, stage in enumerate(self._stages):
            assert layout is not None

            def at(name: str, index: int = index, stack: str = layout[0]) -> str:
                return f"{setting_path(name)}[{index}]: stage {index} ({stack})"

            if stage.d_model < max(previous, 1):
                raise ConfigError(f"d_model[{index}]: widths never shrink inwards, got {self.d_model}")
            previous = stage.d_model
            layers: tuple[LayerSpec, ...] = sum((parse_stack(s) for s in layout if isinstance(s, str)), ())
            if any(layer.mixer == "mamba" for layer in layers):
                for name in ("d_state", "d_conv", "expand", "head_dim"):
                    if getattr(stage, name) < 1:
                        raise ConfigError(f"{at(name)}: expected 1 or more, got {getattr(stage, name)}")
                if stage.d_inner % stage.head_dim:
                    raise ConfigError(
                        f"{at('head_dim')}: expand x d_model = {stage.d_inner} must be divisible by "
                        f"head_dim {stage.head_dim}"
                    )
            if any(layer.mixer == "attention" for layer in layers):
                if stage.num_heads < 1 or stage.d_model % stage.num_heads:
                    raise ConfigError(
                        f"{at('num_heads')}: d_model {stage.d_model} must be divisible by num_heads {stage.num_heads}"
                    )
                head = stage.d_model // stage.num_heads
                if stage.rotary_emb_dim % 2 or not 0 <= stage.rotary_emb_dim <= head:
                    raise ConfigError(
                        f"{at('rotary_emb_dim')}: rotary_emb_dim must be even and at most {head} (d_model / "
                        f"num_heads), got {stage.rotary_emb_dim}"
                    )
                if stage.rotary_period == 1:
                    raise ConfigError(
                        f"{at('rotary_period')}: rotary_period must be 0 (as the reference) or 2 and more, "
                        f"got {stage.rotary_period}"
                    )
            if any(layer.has_mlp for layer in layers) and stage.d_intermediate < 1:
                raise ConfigError(
                    f"{at('d_intermediate')}: a layer M or T has an MLP, so d_intermediate[{index}] must be 1 or more"
                )
            layout = inner_layout(layout)

    def _check_kmer(self) -> None:
        if self.kmer == 0:
            return
        if not 2 <= self.kmer <= MAX_KMER:
            raise ConfigError(f"kmer: expected 0 (single bases) or 2 to {MAX_KMER}, got {self.kmer}")
        if self.n_stages > 1:
            raise ConfigError(f"kmer: k-mers need an isotropic layout (one stack), got {layout_text(self.layout)}")
        if self.alphabet is None:
            raise ConfigError("kmer: k-mers need an alphabet, which gives the ids of A, C, G, T")
        if self.tie_embeddings:
            raise ConfigError("kmer: a model of k-mers cannot tie its embeddings, which hold one entry more")

    @property
    def has_memory(self) -> bool:
        """Whether there is a memory of k-mers beside the network."""
        return bool(self.table_orders or self.word_orders)

    def _check_memory(self) -> None:
        for name, (low, high) in (("table_orders", TABLE_ORDERS), ("word_orders", WORD_ORDERS)):
            orders = getattr(self, name)
            if list(orders) != sorted(set(orders)):
                raise ConfigError(
                    f"{setting_path(name)}: expected rising numbers from {low} to {high}, got {shown(list(orders))}"
                )
        if self.has_memory and self.kmer:
            raise ConfigError("memory_cfg: a model of k-mers cannot have a memory; leave out kmer or memory_cfg")
        if self.has_memory and self.alphabet is None:
            raise ConfigError("memory_cfg: a memory needs an alphabet, which gives the ids of A, C, G, T")

    @staticmethod
    def field_names() -> frozenset[str]:
        """Return the names of what `to_dict` gives."""
        return frozenset(("arch_layout", *_TOP_FIELDS, *_GROUPS))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> ModelConfig:
        """Read the JSON form; an unknown field is a `ConfigError` with a suggestion."""
        if value.get("model_type") == MODEL_TYPE:
            value = {name: one for name, one in value.items() if name != "model_type"}
        refuse_unknown("", value, ("arch_layout", *_TOP_FIELDS, *_GROUPS))
        for name in ("arch_layout", "d_model", "d_intermediate", "vocab_size"):
            if name not in value:
                raise ConfigError(f"{name}: is missing")
        read = readers(cls)
        fields: dict[str, Any] = {"layout": parse_layout(value["arch_layout"])}
        for name in _TOP_FIELDS:
            if name in value:
                fields[name] = read[name](name, value[name])
        for group, names in _GROUPS.items():
            section = value.get(group)
            if section is None:
                continue
            if not isinstance(section, Mapping):
                raise ConfigError(f"{group}: expected an object, got {shown(section)}")
            refuse_unknown(f"{group}.", section, names)
            for name in names:
                if name in section:
                    fields[name] = read[name](f"{group}.{name}", section[name])
        return cls(**fields)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read the JSON text of a configuration."""
        return cls.from_dict(json_object(text, "model config"))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, with the reference's field names."""
        groups = {group: {n: _plain(getattr(self, n)) for n in names} for group, names in _GROUPS.items()}
        top = {name: _plain(getattr(self, name)) for name in _TOP_FIELDS}
        if not self.has_memory:
            del groups["memory_cfg"]  # as before there was one, so that the digests of older models stay
        return {"arch_layout": _plain(self.layout), **top, **groups}

    def __str__(self) -> str:
        tokens = f", {self.kmer}-mers" if self.kmer else ""
        return f"{layout_text(self.layout)}, width {'/'.join(map(str, self.d_model))}{tokens}"


_GROUPS: dict[str, tuple[str, ...]] = {
    "ssm_cfg": ("chunk_size", "d_conv", "d_state", "expand", "head_dim"),
    "attn_cfg": ("num_heads", "rotary_emb_dim", "rotary_period", "window_size"),
    "chunk_cfg": ("routing", "stride", "max_chunk", "smoothing", "straight_through"),
    "memory_cfg": ("table_orders", "table_width", "word_orders", "max_words"),
}
_TOP_FIELDS = ("d_model", "d_intermediate", "vocab_size", "tie_embeddings", "alphabet", "kmer")
_PER_STAGE = (
    "d_model",
    "d_intermediate",
    "d_state",
    "d_conv",
    "expand",
    "head_dim",
    "num_heads",
    "rotary_emb_dim",
    "rotary_period",
    "window_size",
    "routing",
    "stride",
    "max_chunk",
)


def setting_path(name: str) -> str:
    """Return where a field stands in a file of settings, below `model`: `head_dim` in `ssm_cfg.head_dim`."""
    group = next((group for group, names in _GROUPS.items() if name in names), None)
    return f"{group}.{name}" if group else name


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
