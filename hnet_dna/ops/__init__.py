"""The scans that decide an H-Net's speed, behind one small interface: `ssd_scan` and `ema_scan`.

Callers import these two functions; which backend serves them is chosen in `hnet_dna.ops.backend`.
"""

from hnet_dna.ops.backend import BACKENDS, Backend, current_backend, ema_scan, ssd_scan, use_backend
from hnet_dna.ops.conv import causal_conv

__all__ = ["BACKENDS", "Backend", "causal_conv", "current_backend", "ema_scan", "ssd_scan", "use_backend"]
