"""What an experiment returns: typed metrics, and sections that tell of them."""

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pydantic.dataclasses
from markupsafe import Markup
from matplotlib import figure

from experiments.common.signals import INTERRUPTED

_CONFIG = pydantic.ConfigDict(use_attribute_docstrings=True, extra="forbid")


@typing.dataclass_transform(kw_only_default=True)
def metrics(cls: type) -> type:
    """Make a class one of what goes into `metrics.json`.

    It is a dataclass that checks its values' types, and whose fields' docstrings are
    the descriptions in the JSON schema.
    """
    made = pydantic.dataclasses.dataclass(cls, kw_only=True, config=_CONFIG)
    for one in dataclasses.fields(made):
        # Where pydantic looks for the descriptions of fields that a subclass inherits.
        about = made.__pydantic_fields__[one.name].description
        one.metadata = {**one.metadata, "description": about}
    return made


def varying(default: Any = dataclasses.MISSING) -> Any:
    """Declare a metric that differs between two runs of one command, such as a time."""
    return field(default=default, metadata={"varies": True})


@metrics
class Machine:
    """The computer that a run was made on."""

    cpu: str
    """Model of the processor."""
    cores: int
    """Number of cores, as the system counts them."""
    platform: str
    """Operating system."""


@metrics
class Environment:
    """What the numbers depend on beside settings and data."""

    python: str
    """Version of Python."""
    backend: str
    """Backend of Keras."""
    versions: dict[str, str]
    """Versions of the packages that compute."""
    machine: Machine
    """The computer."""
    devices: int = 1
    """Number of devices that shared each batch."""
    git_commit: str | None = None
    """Commit of the checkout, with "+changes" if files differ from it."""


@metrics
class RunMetrics:
    """What every `metrics.json` contains; an experiment adds fields of its own.

    An experiment fills in `data` and `engine`. The rest is filled in for it, unless it
    has its own `environment` or `seconds`.
    """

    experiment: str = varying("")
    """Name of the experiment, which decides what else is here."""
    name: str = varying("")
    """Name of the run and of its folder."""
    command: str = varying("")
    """The command, with the environment variables that matter, ready for a shell."""
    interrupted: bool = varying(False)  # no run that can be compared was
    """Whether the run ended early, so that something is missing."""
    ending: str = varying("")
    """How it ended early or what failed, in a sentence; empty if nothing did."""
    data: dict[str, Any] = field(default_factory=dict)
    """What the run learned from and was measured on."""
    engine: dict[str, Any] = field(default_factory=dict)
    """What computed the recurrent layers."""
    environment: Environment | None = field(default=None, metadata={"varies": True})
    """Versions and machine."""
    seconds: float | None = varying(None)
    """Wall-clock time of the run; of `memory` the sum over its training runs."""


@dataclass(frozen=True)
class Paragraph:
    """Plain text. `page_only` leaves it out of what the terminal shows."""

    text: str
    page_only: bool = False


@dataclass(frozen=True)
class Note:
    """A paragraph that the reader must not miss."""

    text: str


@dataclass(frozen=True)
class Code:
    """A block of code, such as a command; on the page only."""

    text: str


@dataclass(frozen=True)
class Table:
    """A table of cells, which are shown as `str` gives them."""

    header: Sequence[str]
    rows: Sequence[Sequence]
    page_only: bool = False

    @property
    def numeric(self) -> list[bool]:
        """Return for each column whether it holds numbers, and is right-aligned."""
        return [
            column > 0
            and bool(self.rows)
            and all(_starts_as_number(row[column]) for row in self.rows)
            for column in range(len(self.header))
        ]


@dataclass(frozen=True)
class Figure:
    """A figure, saved as `figures/NAME.png` and shown on the page."""

    name: str
    figure: figure.Figure
    caption: str


@dataclass(frozen=True)
class Html:
    """A part of the page that an experiment rendered itself, escaped by Jinja."""

    markup: Markup


Part = Paragraph | Note | Code | Table | Figure | Html


@dataclass(frozen=True)
class Section:
    """Parts of a report under a heading; the first section of one has none."""

    title: str | None
    parts: Sequence[Part]


M = TypeVar("M", bound=RunMetrics)


@dataclass(kw_only=True)
class Result(Generic[M]):
    """What a run found.

    Attributes:
        title: Heading of the report.
        metrics: What `metrics.json` will contain.
        sections: What report and terminal tell.
        status: Exit status: 0, `signals.INTERRUPTED`, or 1 if something failed.
        ending: See `RunMetrics`.
        tables: The rows of each CSV file, by file name.
        files: What writes each other file, by file name.
    """

    title: str
    metrics: M
    sections: Sequence[Section]
    status: int = 0
    ending: str = ""
    tables: Mapping[str, Sequence[Mapping]] = field(default_factory=dict)
    files: Mapping[str, Callable[[Path], object]] = field(default_factory=dict)

    @property
    def interrupted(self) -> bool:
        """Whether the run ended early."""
        return self.status == INTERRUPTED


def metrics_type(run: Callable) -> type[RunMetrics]:
    """Return the type of the metrics, from the annotation of an experiment's `run`."""
    return typing.get_args(typing.get_type_hints(run)["return"])[0]


def varying_names(kind: Any) -> set[str]:
    """Return the names of all fields, also in nested types, that are `varying`."""
    found = set()
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        for one in dataclasses.fields(kind):
            if one.metadata.get("varies"):
                found.add(one.name)
            else:
                found |= varying_names(hints[one.name])
    for inner in typing.get_args(kind):
        found |= varying_names(inner)
    return found


def _starts_as_number(value) -> bool:
    text = str(value).lstrip("-+±")
    return text[:1].isdigit() or text in ("", "–")
