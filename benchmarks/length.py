"""Prints time per base against length: in pieces as all commands read, at once, and forward and backward.

    python benchmarks/length.py [--threads 1] [--longest 1048576] [--longest-at-once 65536]

Models are presets with fresh weights: only Mamba-2, only windowed attention, and `tiny`, which has both and chunks.
In pieces, none of them should take longer for a base of a long sequence than for one of a short sequence. At once, long
sequences leave the processor's caches. In training a base costs memory too, about 50 kB with `tiny`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from hnet_dna.config.presets import preset
from hnet_dna.inference.stream import PIECE
from hnet_dna.inference.stream import forward as run
from hnet_dna.model.likelihood import targets_of
from hnet_dna.model.lm import HNetLM
from hnet_dna.sequence.alphabet import alphabet
from hnet_dna.training.loss import language_model_loss

PRESETS = ("tiny", "tiny-mamba2", "tiny-transformer")
SHORTEST = 1 << 10


def microseconds(call: Callable[[], object], bases: int) -> float:
    """Return the best time of a call per base; short calls are repeated more often."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times = []
    for _ in range(max(1, min(10, (1 << 18) // bases))):
        began = clock()
        call()
        times.append(clock() - began)
    return min(times) / bases * 1e6


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Cost against length.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--longest", type=int, default=1 << 20)
    parser.add_argument("--longest-at-once", type=int, default=1 << 16)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    letters = alphabet("dna")
    lengths = [SHORTEST]
    while lengths[-1] * 4 <= arguments.longest:
        lengths.append(lengths[-1] * 4)
    print("microseconds per base" + "".join(f"{length:>12,}" for length in lengths))
    for name in PRESETS:
        torch.manual_seed(0)
        model = HNetLM(preset(name, letters.name, letters.vocab_size))
        rows: dict[str, list[str]] = {name: [], "  at once": [], "  with gradients": []}
        for length in lengths:
            codes = torch.randint(0, 4, (1, length + 1), dtype=torch.uint8)

            def pieces(codes: torch.Tensor = codes, model: HNetLM = model) -> None:
                state = None
                for start in range(0, codes.shape[1] - 1, PIECE):
                    state = run(model, codes[:, start : start + PIECE].numpy(), state, None).state

            def forward(codes: torch.Tensor = codes, model: HNetLM = model) -> None:
                with torch.inference_mode():
                    model(codes[:, :-1].long())

            def step(codes: torch.Tensor = codes, model: HNetLM = model) -> None:
                stages = model.n_chunking_stages
                output = model(codes[:, :-1].long())
                model.zero_grad(set_to_none=True)
                loss = language_model_loss(output, targets_of(codes[:, 1:]), letters, [3.0] * stages, [0.03] * stages)
                loss.total.backward()  # type: ignore[no-untyped-call]

            for row, call in zip(rows.values(), (pieces, forward, step), strict=True):
                if call is pieces or length <= arguments.longest_at_once:
                    row.append(f"{microseconds(call, length):12.1f}")
        for title, cells in rows.items():
            print(f"{title:<21}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
