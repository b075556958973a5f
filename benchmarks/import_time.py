"""What `import reconx` costs beyond `import torch`, which a host has imported anyway.

Run: python benchmarks/import_time.py. Fresh interpreters in turns; prints min and median of each.
"""

import statistics
import subprocess
import sys
import time

RUNS = 7
STATEMENTS = {"torch": "import torch", "torch and reconx": "import torch, reconx"}


def main() -> None:
    """Time both statements in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(RUNS + 1):  # the first round fills the file cache and is dropped
        for name, statement in STATEMENTS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            seconds[name].append(time.perf_counter() - began)
    for name, times in seconds.items():
        kept = times[1:]
        print(f"{name:>18}: min {min(kept):.2f} s, median {statistics.median(kept):.2f} s")
    lean, full = (min(times[1:]) for times in seconds.values())
    print(f"reconx adds {full - lean:.2f} s (ratio {full / lean:.2f})")


if __name__ == "__main__":
    main()
