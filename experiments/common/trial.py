"""The results of a seed, which `measures.py` of an experiment reads from its runs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """The results of one seed of a run.

    Attributes:
        seed: The seed.
        values: The results by measure; None if there is none.
        interrupted: Whether it was interrupted.
        fingerprint: Fingerprint of its data; None if unknown.
    """

    seed: int
    values: dict[str, float | None]
    interrupted: bool
    fingerprint: str | None
