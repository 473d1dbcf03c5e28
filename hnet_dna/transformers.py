"""Lets Hugging Face transformers read, run, sample and train our models: `import hnet_dna.transformers`.

After this import, `AutoConfig`, `AutoTokenizer`, `AutoModel` and `AutoModelForCausalLM` open our model folders, and
names on the hub, without remote code. The network is the same `HNetLM`, and a folder that these classes save is one of
ours. A model's state takes the part of the key-value cache: `output.state` goes into the next call as `state`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from hnet_dna.config.recipe import Recipe
from hnet_dna.config.schema import MODEL_TYPE, ModelConfig
from hnet_dna.errors import CheckpointError, UsageError
from hnet_dna.model.hnet import InnerState
from hnet_dna.model.likelihood import IGNORED
from hnet_dna.model.lm import HNetLM, KmerLM
from hnet_dna.pretrained.folder import CONFIG_FILE, find_folder, read_config
from hnet_dna.sequence.alphabet import Alphabet, alphabet
from hnet_dna.sequence.codes import LETTERS, from_text, to_text
from hnet_dna.sequence.coerce import as_codes
from hnet_dna.training.loss import language_model_loss

try:
    import transformers
    from transformers.utils import ModelOutput
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("this needs transformers: pip install 'hnet-dna[transformers]'") from error

# What `from_pretrained` of a model hands on to the download, and what transformers' own adds for weights that are
# spread over devices, converted or checked, of which a model of ours has no need.
_DOWNLOAD = ("cache_dir", "token", "local_files_only", "force_download")
_UNUSED = (
    "trust_remote_code",
    "adapter_kwargs",
    "code_revision",
    "weights_only",
    "use_safetensors",
    "low_cpu_mem_usage",
)
_TOKENIZER_FILE = "tokenizer_config.json"


class HNetConfig(transformers.PreTrainedConfig):
    """Our `config.json` as transformers has it; `hnet` is the `ModelConfig`."""

    model_type = MODEL_TYPE

    def __init__(self, **values: Any) -> None:
        known = ModelConfig.field_names()
        own = {name: value for name, value in values.items() if name in known}
        self.hnet = ModelConfig.from_dict(own) if own else None
        super().__init__(**{name: value for name, value in values.items() if name not in known})
        for name, value in (self.hnet.to_dict() if self.hnet else {}).items():
            setattr(self, name, value)
        self.hidden_size = self.hnet.stage(0).d_model if self.hnet else 0
        self.tie_word_embeddings = False  # HNetLM ties them itself

    def to_dict(self) -> dict[str, Any]:
        """Return what `config.json` holds."""
        return {name: value for name, value in super().to_dict().items() if name != "hnet"}


@dataclass
class HNetModelOutput(ModelOutput):
    """What `HNetModel` gives.

    Attributes:
        last_hidden_state: (B, L, D), before the head.
        state: for the next call.
    """

    last_hidden_state: Tensor | None = None
    state: InnerState | None = None


@dataclass
class HNetCausalLMOutput(ModelOutput):
    """What `HNetForCausalLM` gives.

    Attributes:
        loss: mean nats of the labels that are A, C, G or T, plus the ratio loss of a `Recipe`; None without labels.
        logits: (B, L, V), for the next token.
        state: for the next call.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    state: InnerState | None = None


class _OfHNet(transformers.PreTrainedModel):
    """What both models share: they hold the modules of an `HNetLM`, under its names."""

    config_class = HNetConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    _is_stateful = True

    def __init__(self, config: HNetConfig, network: HNetLM | None = None) -> None:
        super().__init__(config)
        if network is None:
            if config.hnet is None:
                raise UsageError("this configuration has no shape; read one with AutoConfig.from_pretrained")
            network = HNetLM(config.hnet)
        for name, module in network.named_children():
            self.add_module(name, module)
        self.__dict__["network"] = network  # not as a module, so that weights keep its names
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Leave weights as `HNetLM` makes them."""

    def train(self, mode: bool = True) -> Any:
        """Switch to training or evaluation."""
        self.network.training = mode
        return super().train(mode)

    def get_input_embeddings(self) -> torch.nn.Module:
        """Return the embedding of tokens."""
        return cast("torch.nn.Module", self.network.embeddings)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *_: Any,
        config: HNetConfig | None = None,
        revision: str | None = None,
        dtype: torch.dtype | str | None = None,
        **options: Any,
    ) -> Any:
        """Read a model folder, a built-in model, or owner/name on the hub; in evaluation mode.

        Args:
            pretrained_model_name_or_path: as `HNetLM.from_pretrained` takes it.
            config: of this model; it is read anew.
            revision: on the hub.
            dtype: of the weights; float32 where None or `auto`.
            options: cache_dir, token, local_files_only, force_download.
        """
        download = {name: options.pop(name) for name in _DOWNLOAD if name in options}
        others = [name for name in options if name not in _UNUSED and not name.startswith("_")]
        if others:
            raise UsageError(f"a model of hnet-dna cannot be loaded with `{others[0]}`; move it with .to() afterwards")
        network = HNetLM.from_pretrained(pretrained_model_name_or_path, revision=revision, **download)
        model = cls(HNetConfig(**network.config.to_dict()), network)
        model.config.name_or_path = str(pretrained_model_name_or_path)
        if dtype not in (None, "auto"):
            model = model.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
        return model.eval()

    def save_pretrained(self, save_directory: str | Path, is_main_process: bool = True, **_: Any) -> None:
        """Write a folder that `HNetLM.from_pretrained` reads too."""
        if is_main_process:
            self.network.save_pretrained(save_directory)

    def _lengths(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor | None:
        if attention_mask is None or bool(attention_mask.all()):
            return None
        lengths = attention_mask.long().sum(dim=1)
        wanted = torch.arange(input_ids.shape[1], device=input_ids.device) < lengths[:, None]
        if not bool((wanted == attention_mask.bool()).all()):
            raise UsageError("`attention_mask`: an H-Net reads from left to right; pad on the right")
        return lengths


class HNetModel(_OfHNet):
    """The network without its head: `AutoModel`."""

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, state: InnerState | None = None, **_: Any
    ) -> HNetModelOutput:
        """Return the vectors (B, L, D) of a piece, and the state after it."""
        if isinstance(self.network, KmerLM):
            raise UsageError("a model of k-mers has no vector per base; use AutoModelForCausalLM")
        kept: list[Tensor] = []
        hook = self.network.backbone.register_forward_hook(lambda module, inputs, output: kept.append(output[0]))
        try:
            output = self.network(input_ids, state, lengths=self._lengths(input_ids, attention_mask))
        finally:
            hook.remove()
        return HNetModelOutput(kept[0], output.state)


class HNetForCausalLM(_OfHNet, transformers.GenerationMixin):
    """The language model: `AutoModelForCausalLM`."""

    def __init__(self, config: HNetConfig, network: HNetLM | None = None) -> None:
        super().__init__(config, network)
        shape = self.network.config
        if shape.alphabet is not None:  # as our own sampler does: bases, and nothing else that the alphabet has
            bases = alphabet(shape.alphabet).base_ids
            self.generation_config.suppress_tokens = [i for i in range(shape.vocab_size) if i not in bases]

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        state: InnerState | None = None,
        **_: Any,
    ) -> HNetCausalLMOutput:
        """Predict the next token at every position of a piece.

        Args:
            input_ids: (B, L).
            attention_mask: (B, L), 0 at padding, which is on the right.
            labels: (B, L) token ids, shifted inside as in all models of transformers; -100, and any other id than
                those of A, C, G and T, is not counted.
            state: after the piece before this one.
        """
        output = self.network(input_ids, state, lengths=self._lengths(input_ids, attention_mask))
        loss = None
        if labels is not None:
            letters = alphabet(self.network.config.alphabet)
            targets = torch.full_like(labels[:, 1:], IGNORED)
            for base, token in enumerate(letters.base_ids):
                targets[labels[:, 1:] == token] = base
            if attention_mask is not None:
                targets[attention_mask[:, 1:] == 0] = IGNORED
            recipe, stages = Recipe(), range(len(output.stages))
            shifted = replace(output, logits=output.logits[:, :-1])
            aims = [recipe.ratio_target(stage) for stage in stages], [recipe.ratio_weight(stage) for stage in stages]
            loss = language_model_loss(shifted, targets, letters, *aims).total
        return HNetCausalLMOutput(loss, output.logits, output.state)

    def generate(self, *inputs: Any, **options: Any) -> Any:
        """Sample as transformers' `generate` does; beams, whose states cannot change places, are refused."""
        settings = options.get("generation_config") or self.generation_config
        beams = options.get("num_beams", getattr(settings, "num_beams", None))
        if (beams or 1) > 1:
            raise UsageError("`num_beams`: an H-Net's state cannot move to another row; sample, or take the likeliest")
        return super().generate(*inputs, **options)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, state: InnerState | None = None, attention_mask: Tensor | None = None, **_: Any
    ) -> dict[str, Any]:
        """Give the model the whole prompt first, then one token after the other with the state."""
        if state is None and attention_mask is not None and not bool(attention_mask.all()):
            raise UsageError("`attention_mask`: prompts of one call are of one length; call once for each length")
        return {"input_ids": input_ids if state is None else input_ids[:, -1:], "state": state}

    def _update_model_kwargs_for_generation(
        self, outputs: Any, model_kwargs: dict[str, Any], *inputs: Any, **options: Any
    ) -> dict[str, Any]:
        updated = cast(
            "dict[str, Any]", super()._update_model_kwargs_for_generation(outputs, model_kwargs, *inputs, **options)
        )
        return updated | {"state": outputs.state}

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False


class HNetTokenizer(transformers.PreTrainedTokenizer):
    """A token per letter, with the ids of the model's alphabet; lower case and U are read as `open_genome` reads them.

    Padding is N, which no loss counts, on the right. A letter that is not a nucleotide code is a `SequenceError`.
    """

    vocab_files_names: Mapping[str, str] = {}
    model_input_names = ("input_ids", "attention_mask")

    def __init__(self, alphabet: str = "dna", **options: Any) -> None:
        self.letters: Alphabet = _alphabet(alphabet)
        self._token_of = {self.letters.ids[code]: letter for code, letter in reversed([*enumerate(LETTERS)])}
        options = {"pad_token": "N", "unk_token": "N", "padding_side": "right"} | options
        super().__init__(alphabet=alphabet, **options)

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return self.letters.vocab_size

    def get_vocab(self) -> dict[str, int]:
        """Return the ids of letters."""
        return {letter: number for number, letter in self._token_of.items()}

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        return list(to_text(as_codes(text)).upper())

    def _convert_token_to_id(self, token: str) -> int:
        return int(self.letters.encode(from_text(token))[0])

    def _convert_id_to_token(self, index: int) -> str:
        return self._token_of.get(index, "N")

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join letters."""
        return "".join(tokens)

    def save_vocabulary(self, *_: Any, **__: Any) -> tuple[str, ...]:
        """Write nothing: the alphabet's name is all there is."""
        return ()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, *_: Any, revision: str | None = None, **options: Any
    ) -> Any:
        """Read the alphabet of a model folder, a built-in model, or owner/name on the hub."""
        place = Path(pretrained_model_name_or_path)
        if (place / _TOKENIZER_FILE).is_file() and not (place / CONFIG_FILE).is_file():
            return cls(json.loads((place / _TOKENIZER_FILE).read_text())["alphabet"])
        download = {name: options[name] for name in _DOWNLOAD if name in options}
        name = read_config(find_folder(pretrained_model_name_or_path, revision, **download)).alphabet
        if name is None:
            raise CheckpointError(f"{pretrained_model_name_or_path}: the ids of this model do not stand for letters")
        return cls(name)


_alphabet = alphabet

transformers.AutoConfig.register(MODEL_TYPE, HNetConfig)
transformers.AutoModel.register(HNetConfig, HNetModel)
transformers.AutoModelForCausalLM.register(HNetConfig, HNetForCausalLM)
transformers.AutoTokenizer.register(HNetConfig, slow_tokenizer_class=HNetTokenizer)
