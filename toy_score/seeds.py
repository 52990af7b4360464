"""Seeds by name: independent random numbers for any purpose and any numbered item of it, without a history.

Two streams with the same seed have the same numbers, and noise must differ from the data it is added to. So each use of
random numbers has its own name.
"""

import zlib

__all__ = ["seed_of"]


def seed_of(purpose: str, *numbers: int) -> int:
    """A well-scrambled 63-bit seed for item `numbers` of the stream `purpose` (splitmix64; Steele et al. 2014)."""
    state = zlib.crc32(purpose.encode())
    for number in numbers:
        state = _scramble(state + (number + 1) * 0x9E3779B97F4A7C15)
    return state >> 1


def _scramble(z: int) -> int:
    mask = (1 << 64) - 1
    z &= mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)
