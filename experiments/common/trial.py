"""What `summarise` reads from a run, by the `measures.py` of its experiment."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Trial:
    """What one seed of a run achieved.

    Attributes:
        seed: The seed.
        values: The results by measure; None where there is none.
        interrupted: Whether it ended early.
        fingerprint: Fingerprint of its data; None if unknown.
    """

    seed: int
    values: dict[str, float | None]
    interrupted: bool
    fingerprint: str | None
