"""Kills a training run at random moments and compares the curve of the resumed run with an uninterrupted one.

python benchmarks/kill_resume.py [--kills 20] [--steps 600] [--genomes mix.toml] [--workers 2]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def curve(run: Path) -> list[dict[str, object]]:
    """Return a run's metrics without its timings."""
    timings = {"seconds", "bases_per_second", "waiting_for_data"}
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in timings} for line in lines]


def main() -> None:
    """Run, kill, resume, compare; exit 1 where they differ."""
    parser = argparse.ArgumentParser(description="Kill and resume.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--genomes", type=Path, help="file of a mixture, in place of yeast")
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:

        def command(run: Path) -> list[str]:
            settings = ["model.d_model=[16,32]", "model.attn_cfg.rotary_emb_dim=4", "train.checkpoint_every=0.2",
                        "train.window=64", "train.validate_every=50"]  # fmt: skip
            if run.exists():
                settings = []
            asked = [part for text in settings for part in ("--set", text)]
            named = ["--genomes", str(arguments.genomes)] if arguments.genomes else ["--genome", "yeast"]
            return [str(Path(sys.executable).with_name("hnet-dna")), "pretrain", "--resume", "--out", str(run),
                    "--steps", str(arguments.steps), "--workers", str(arguments.workers), "--no-evaluation",
                    *([] if run.exists() else named), *asked]  # fmt: skip

        def quiet(run: Path) -> subprocess.Popen[bytes]:
            return subprocess.Popen(command(run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        straight, broken = Path(folder) / "straight", Path(folder) / "broken"
        began = time.monotonic()
        process = quiet(straight)
        while process.poll() is None and not (straight / "metrics.jsonl").exists():
            time.sleep(0.05)
        start = time.monotonic() - began
        assert process.wait() == 0
        whole = time.monotonic() - began
        longest = start + 2 * (whole - start) / arguments.kills  # so that most kills come before the end
        kills, steps = 0, []
        while kills < arguments.kills:
            process = quiet(broken)
            # Anywhere from the start of Python on.
            time.sleep(chance.uniform(0.2, longest))
            if process.poll() is None:
                process.kill()
                kills += 1
            process.wait()
            folders = sorted((broken / "checkpoints").glob("step-*")) if broken.exists() else []
            steps.append(int(folders[-1].name[5:]) if folders else None)
            if process.returncode == 0:
                break
        assert quiet(broken).wait() == 0
        same = curve(straight) == curve(broken)
        print(f"uninterrupted: {whole:.0f} s; killed {kills} times, checkpoints found: {steps}")
        print(f"curves of {len(curve(straight))} lines are {'the same to the last bit' if same else 'DIFFERENT'}")
        raise SystemExit(0 if same else 1)


if __name__ == "__main__":
    main()
