"""Identities: UIDs, the random suffixes of generated names, and the source of randomness behind them."""

from __future__ import annotations

import os
import random
from typing import NewType, Protocol

Uid = NewType("Uid", str)

# Upstream leaves out vowels and look-alikes, so that no suffix spells a word.
# Source: apimachinery util/rand.
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
GENERATED_SUFFIX_LENGTH = 5
MAX_GENERATED_BASE_LENGTH = 63 - GENERATED_SUFFIX_LENGTH


class Randomness(Protocol):
    """Where random bytes come from; a seeded one makes a simulation repeatable."""

    def token(self, length: int) -> bytes:
        """`length` random bytes."""
        ...


class SystemRandomness:
    """The kernel's randomness, fetched in blocks because a system call for each UID would cost more than the UID."""

    def __init__(self) -> None:
        self._pool = b""
        self._position = 0

    def token(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._pool):
            self._pool = os.urandom(max(4096, length))
            self._position, end = 0, length
        taken = self._pool[self._position : end]
        self._position = end
        return taken


class SeededRandomness:
    """Repeatable randomness for simulations; never for secrets."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token(self, length: int) -> bytes:
        return self._random.randbytes(length)


def new_uid(randomness: Randomness) -> Uid:
    """A version 4 UUID as text."""
    h = randomness.token(16).hex()
    variant = "89ab"[int(h[16], 16) & 3]
    return Uid(f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{variant}{h[17:20]}-{h[20:]}")


def random_suffix(randomness: Randomness, length: int = GENERATED_SUFFIX_LENGTH) -> str:
    """Letters and digits of upstream's alphabet."""
    return "".join([SUFFIX_ALPHABET[b % len(SUFFIX_ALPHABET)] for b in randomness.token(length)])


def generate_name(base: str, randomness: Randomness) -> str:
    """A name for `metadata.generateName`: the base, cut to 58 characters, and a random suffix."""
    return base[:MAX_GENERATED_BASE_LENGTH] + random_suffix(randomness)
