"""Initialisation of every parameter, as the reference trains with.

| parameter                          | start                                                                  |
|------------------------------------|------------------------------------------------------------------------|
| embeddings, begin of k-mers        | N(0, 1)                                                                |
| lm_head                            | N(0, 0.02); when tied, the embedding's N(0, 0.02) instead of N(0, 1)    |
| linears of stacks                  | N(0, 0.02)                                                             |
| out_proj, fc2                      | N(0, 0.02 / sqrt(n)), n residual additions of this and all outer stages |
| router q, k                        | identity                                                               |
| linear router (an ablation)        | N(0, 0.02), bias 0: about half the positions begin a chunk             |
| residual_proj                      | weight 0, bias U(-1, 1) / sqrt(D) (PyTorch's default)                  |
| pad_dimension                      | 0                                                                      |
| Mamba dt_bias                      | inverse softplus of a log-uniform dt in [1e-3, 1e-1], at least 1e-4     |
| Mamba A_log, D                     | log U(1, 16), 1                                                        |
| conv1d, norms                      | PyTorch's default, 1                                                   |

The reference ties the head to embeddings of std 1, by the order of its calls; logits then start near +-sqrt(D), so the
tied case departs from it here.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from hnet_dna.model.hnet import ChunkingStage, Innermost
from hnet_dna.model.kmers import KmerStage
from hnet_dna.model.mixer import Attention, Mamba2, SwiGLU
from hnet_dna.model.stack import Stack

_STD = 0.02


def init_mamba(mixer: Mamba2) -> None:
    """Draw the rates of a Mamba-2 mixer."""
    dt = torch.exp(torch.empty_like(mixer.dt_bias).uniform_(math.log(1e-3), math.log(1e-1))).clamp(min=1e-4)
    with torch.no_grad():
        mixer.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))
        mixer.A_log.copy_(torch.empty_like(mixer.A_log).uniform_(1, 16).log())
        mixer.D.fill_(1.0)


def _init_stack(stack: Stack, height: int) -> None:
    deep = _STD / math.sqrt(height)
    for module in stack.modules():
        if isinstance(module, Mamba2):
            init_mamba(module)
            nn.init.normal_(module.in_proj.weight, std=_STD)
            nn.init.normal_(module.out_proj.weight, std=deep)
        elif isinstance(module, Attention):
            nn.init.normal_(module.Wqkv.weight, std=_STD)
            nn.init.normal_(module.out_proj.weight, std=deep)
        elif isinstance(module, SwiGLU):
            nn.init.normal_(module.fc1.weight, std=_STD)
            nn.init.normal_(module.fc2.weight, std=deep)


def init_kmer_stage(stage: KmerStage) -> None:
    """Initialise the one stage of a model of k-mers."""
    nn.init.normal_(stage.begin, std=1.0)
    _init_stack(stage.main_network, stage.main_network.height)


def init_stages(stage: ChunkingStage | Innermost, height: int = 0) -> None:
    """Initialise a stage and all inner ones; `height` counts the residual additions of the outer stages."""
    if isinstance(stage, Innermost):
        _init_stack(stage.main_network, height + stage.main_network.height)
        return
    height += stage.encoder.height + stage.decoder.height
    _init_stack(stage.encoder, height)
    _init_stack(stage.decoder, height)
    router = stage.routing_module
    if router.routing == "cosine":
        nn.init.eye_(router.q_proj_layer.weight)
        nn.init.eye_(router.k_proj_layer.weight)
    elif router.routing == "linear":
        nn.init.normal_(router.score.weight, std=_STD)
        nn.init.zeros_(router.score.bias)
    nn.init.zeros_(stage.residual_proj.weight)
    init_stages(stage.main_network, height)


def init_embeddings(embeddings: nn.Embedding, head: nn.Linear) -> None:
    """Initialise the embedding and the head, tied or not."""
    if head.weight is embeddings.weight:
        nn.init.normal_(embeddings.weight, std=_STD)
        return
    nn.init.normal_(embeddings.weight, std=1.0)
    nn.init.normal_(head.weight, std=_STD)
