"""What decides an H-Net's speed, behind a small interface.

The scans and the convolution are served by a backend, chosen in `hnet_dna.ops.backend`; norms, gates and cosines have
one implementation each, with a backward pass written by hand, and a plain twin that tests compare it with.
"""

from hnet_dna.ops.backend import (
    BACKENDS,
    Backend,
    Choice,
    causal_conv_silu,
    current_backend,
    current_choice,
    ema_scan,
    leave_uncompiled,
    ssd_scan,
    use_backend,
)
from hnet_dna.ops.cosine import neighbour_cosine
from hnet_dna.ops.norm import gated_rms_norm, rms_norm, swiglu

__all__ = [
    "BACKENDS",
    "Backend",
    "Choice",
    "causal_conv_silu",
    "current_backend",
    "current_choice",
    "ema_scan",
    "gated_rms_norm",
    "leave_uncompiled",
    "neighbour_cosine",
    "rms_norm",
    "ssd_scan",
    "swiglu",
    "use_backend",
]
