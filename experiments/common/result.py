"""The result of an experiment: typed metrics, and the sections of its report."""

import dataclasses
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import pydantic.dataclasses
from markupsafe import Markup
from matplotlib import figure

from experiments.common.signals import INTERRUPTED

# A number, which a unit, a deviation or a second line may follow, or a sign for none.
NUMBER = re.compile(r"[-+−±]?(\d[\d,.]*(e[-+]?\d+)?|nan|inf)(?=[ \n%]|\Z)|(–|none)?\Z")

_CONFIG = pydantic.ConfigDict(use_attribute_docstrings=True, extra="forbid")


@typing.dataclass_transform(kw_only_default=True)
def metrics(cls: type) -> type:
    """Decorate a class whose values go into `metrics.json`.

    It becomes a dataclass that checks the types of its values. The docstrings of its
    fields are the descriptions in the JSON schema.
    """
    made = pydantic.dataclasses.dataclass(cls, kw_only=True, config=_CONFIG)
    for one in dataclasses.fields(made):
        # Where pydantic looks for the descriptions of fields that a subclass inherits.
        about = made.__pydantic_fields__[one.name].description
        one.metadata = {**one.metadata, "description": about}
    return made


def varying(default: Any = dataclasses.MISSING) -> Any:
    """Declare a metric that varies between runs of the same command, such as a time."""
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
    """Versions and machine, on which the numbers depend, too."""

    python: str
    """Version of Python."""
    backend: str
    """Backend of Keras."""
    versions: dict[str, str]
    """Versions of the packages that compute."""
    machine: Machine
    """The computer."""
    devices: int = 1
    """Number of devices that share each batch."""
    git_commit: str | None = None
    """Commit of the checkout, with "+changes" if files differ from it."""


@metrics
class Spread:
    """A measure over the seeds."""

    mean: float
    """Mean."""
    standard_deviation: float | None
    """Sample standard deviation; null of a single seed."""


@metrics
class RunMetrics:
    """The metrics of every experiment, each of which adds fields of its own.

    An experiment sets `data` and `engine`, and may set `environment` and `seconds`; the
    lifecycle sets the rest.
    """

    experiment: str = varying("")
    """Name of the experiment."""
    name: str = varying("")
    """Name of the run and of its folder."""
    command: str = varying("")
    """The command with its environment variables, ready for a shell."""
    interrupted: bool = varying(False)  # only complete runs are compared
    """Whether it was interrupted or partly failed, so that something is missing."""
    ending: str = varying("")
    """What was interrupted or failed, in a sentence; empty if nothing."""
    data: dict[str, Any] = field(default_factory=dict)
    """The data of training and evaluation."""
    engine: dict[str, Any] = field(default_factory=dict)
    """The engines of the recurrent layers."""
    environment: Environment | None = field(default=None, metadata={"varies": True})
    """Versions and machine."""
    seconds: float | None = varying(None)
    """Duration of the run, or the sum over its training runs if several processes share
    them."""


@dataclass(frozen=True)
class Paragraph:
    """Plain text; `page_only` leaves it out on the terminal."""

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
        """Whether each column holds numbers, which are right-aligned."""
        return [
            column > 0
            and bool(self.rows)
            and all(_starts_as_number(row[column]) for row in self.rows)
            for column in range(len(self.header))
        ]


@dataclass(frozen=True)
class Figure:
    """A figure, saved as `figures/NAME.png`, and drawn on the page as SVG."""

    name: str
    figure: figure.Figure
    caption: str


@dataclass(frozen=True)
class Finding:
    """What a run shows, in one sentence, and the figure that shows it, if one does."""

    text: str
    figure: Figure | None = None


@dataclass(frozen=True)
class Html:
    """A part of the page that the experiment renders with Jinja, which escapes it."""

    markup: Markup


Part = Finding | Paragraph | Note | Code | Table | Figure | Html


@dataclass(frozen=True)
class Section:
    """Parts of a report under a heading, if it has one, which may fold them."""

    title: str | None
    parts: Sequence[Part]
    folded: bool = False


M = TypeVar("M", bound=RunMetrics)


@dataclass(kw_only=True)
class Result(Generic[M]):
    """The result of a run.

    Attributes:
        title: Heading of the report.
        metrics: The content of `metrics.json`.
        finding: What the report begins with.
        sections: The rest of the report, for page and terminal.
        status: Exit status: 0, `signals.INTERRUPTED`, or 1 if something failed.
        ending: See `RunMetrics`.
        unfinished: Whether parts of the run failed, which --resume runs again.
        tables: The rows of each CSV file, by file name.
        files: The function that writes each other file, by file name.
    """

    title: str
    metrics: M
    finding: Finding
    sections: Sequence[Section]
    status: int = 0
    ending: str = ""
    unfinished: bool = False
    tables: Mapping[str, Sequence[Mapping]] = field(default_factory=dict)
    files: Mapping[str, Callable[[Path], object]] = field(default_factory=dict)

    @property
    def report(self) -> list[Section]:
        """The report: the finding, then the rest."""
        return [Section(None, [self.finding]), *self.sections]

    @property
    def interrupted(self) -> bool:
        """Whether the run was interrupted, or is unfinished for another reason."""
        return self.unfinished or self.status == INTERRUPTED


def metrics_type(run: Callable) -> type[RunMetrics]:
    """Return the type of an experiment's metrics, from the annotation of its `run`."""
    return typing.get_args(typing.get_type_hints(run)["return"])[0]


def varying_names(kind: Any) -> set[str]:
    """Return the names of all `varying` fields, those of nested types included."""
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
    return NUMBER.match(str(value)) is not None
