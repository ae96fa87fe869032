"""A large text whose number of tokens is known, and a process's peak of memory.

The text is one block of random words over and over, so that nobody needs to read it to
know how many tokens it has.
"""

import random

WORDS, LINES = 5000, 20_000

PEAK = """
import atexit, json, re, sys
from pathlib import Path

def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
"""


def write_text(path, size):
    """Write about `size` bytes; return the number of tokens, ends of lines included."""
    rng = random.Random(0)
    words = [f"w{number}" for number in range(WORDS)]
    lines = [rng.choices(words, k=rng.randint(0, 40)) for _ in range(LINES)]
    block = "".join(" ".join(line) + "\n" for line in lines)
    times = -(-size // len(block))
    with path.open("w") as file:
        for _ in range(times):
            file.write(block)
    return times * sum(len(line) + 1 for line in lines)
