"""What decides an H-Net's speed, behind a small interface.

Scans, the convolution, norms and parts of layers are served by a backend, chosen in `hnet_dna.ops.serve`; the MLP's
gate, the router's cosines and attention with a window have one implementation each, and a plain twin that tests compare
it with.
"""

from hnet_dna.ops.backend import BACKENDS, Backend
from hnet_dna.ops.cosine import neighbour_cosine
from hnet_dna.ops.layers import MambaPast, MambaWeights, MlpWeights
from hnet_dna.ops.norm import swiglu
from hnet_dna.ops.precision import at_least_float32, bfloat16_products
from hnet_dna.ops.serve import (
    Choice,
    causal_conv_silu,
    current_backend,
    current_choice,
    ema_scan,
    gated_rms_norm,
    mamba_layer,
    mlp_layer,
    rms_norm,
    spread,
    ssd_scan,
    use_backend,
)
from hnet_dna.ops.window import window_attention

__all__ = [
    "BACKENDS",
    "Backend",
    "Choice",
    "MambaPast",
    "MambaWeights",
    "MlpWeights",
    "at_least_float32",
    "bfloat16_products",
    "causal_conv_silu",
    "current_backend",
    "current_choice",
    "ema_scan",
    "gated_rms_norm",
    "mamba_layer",
    "mlp_layer",
    "neighbour_cosine",
    "rms_norm",
    "spread",
    "ssd_scan",
    "swiglu",
    "use_backend",
    "window_attention",
]
