"""The sizes at which layers are timed, and the operations of a step."""

import dataclasses
from dataclasses import dataclass

from experiments.common.options import option

DEFAULT = "64,200,32,64 64,200,32,64,masked 64,35,200,200 128,100,128,256 1,200,32,64"
QUICK = "64,200,32,64 64,200,32,64,masked 1,200,32,64"

# Floating point operations of each kind of step, relative to a prediction: the backward
# pass has two matrix products for each one of the forward pass.
KINDS = {"training": 3, "prediction": 1}

# For each size of `plots.plot_growth` the field that grows, its first and last value.
GROWTH = {"T": ("steps", 25, 400), "B": ("batch", 1, 256), "H": ("units", 16, 256)}


@dataclass(frozen=True)
class Shape:
    """Sequences `(batch, steps, features)` for a layer of `units` units.

    Attributes:
        batch: Number of sequences.
        steps: Their length.
        features: Size of each step's vector.
        units: Size of the layer's state.
        masked: Whether sequences are shorter, padded on the left and masked.
    """

    batch: int
    steps: int
    features: int
    units: int
    masked: bool = False

    @classmethod
    def read(cls, text: str) -> "Shape":
        """Read `B,T,D,H` or `B,T,D,H,masked`.

        Raises:
            ValueError: The text has another form.
        """
        numbers, masked = text.removesuffix(",masked"), text.endswith(",masked")
        sizes = numbers.split(",")
        if len(sizes) != 4 or not all(
            size.isascii() and size.isdigit() and int(size) for size in sizes
        ):
            raise ValueError(
                "expected a shape as B,T,D,H or B,T,D,H,masked, of whole numbers of at "
                f"least 1; received {text!r}"
            )
        return cls(*map(int, sizes), masked)

    def __str__(self):
        """Return the text that `read` parses."""
        sizes = f"{self.batch},{self.steps},{self.features},{self.units}"
        return f"{sizes},masked" if self.masked else sizes

    def operations(self, kind: str, steps: int) -> int:
        """Return the number of floating point operations of the matrix products.

        Args:
            kind: One of `KINDS`.
            steps: Total number of steps that are not masked.
        """
        products = 2 * steps * (self.features + self.units) * 4 * self.units
        return KINDS[kind] * products


def shape_option(default: str, group: str):
    """Declare shapes, which `read_shapes` reads."""
    help = (
        "shapes, separated by spaces or semicolons, as B,T,D,H (batch size, steps, "
        "features, units) or B,T,D,H,masked (shorter sequences, padded on the left)"
    )
    return option(default, help, group=group)


def rounds_option(default: int, group: str):
    """Declare how often to time each step."""
    help = "number of times that each step is timed at each shape"
    return option(default, help, group=group, least=1)


def memory_option(group: str):
    """Declare whether to measure memory."""
    return option(True, "measure each engine's memory at the first shape", group=group)


def read_shapes(text: str) -> list[Shape]:
    """Read shapes that are separated by spaces or semicolons.

    Raises:
        ValueError: There is none, one occurs twice, or `Shape.read` refuses it.
    """
    shapes = [Shape.read(part) for part in text.replace(";", " ").split()]
    if not shapes or len(set(shapes)) < len(shapes):
        raise ValueError(
            f"expected at least one shape, and none twice; received {text!r}"
        )
    return shapes


def growing(center: Shape) -> dict[str, list[Shape]]:
    """Return, for each size of `GROWTH`, the shapes in which it alone doubles."""
    return {
        size: [
            dataclasses.replace(center, **{field: first * 2**power})
            for power in range((last // first).bit_length())
        ]
        for size, (field, first, last) in GROWTH.items()
    }
