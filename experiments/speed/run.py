"""Time one part of the package."""

from experiments.common.environment import environment
from experiments.common.lifecycle import Context
from experiments.common.result import Result
from experiments.speed import backends, language, report, text
from experiments.speed.metrics import LayerMetrics, TableMetrics
from experiments.speed.settings import Settings

MEASURES = {
    "layers": backends.layers,
    "text": text.text,
    "prefixes": language.prefixes,
    "generation": language.generation,
}


def run(settings: Settings, context: Context) -> Result[LayerMetrics | TableMetrics]:
    """Run the measurement, and return the result."""
    found = MEASURES[settings.measure](settings)
    found.environment = found.environment or environment()
    layers = isinstance(found, LayerMetrics)
    return Result(
        title=f"Speed: {settings.name}",
        metrics=found,
        sections=report.layer_sections(found) if layers else report.tables(found),
        tables={"results.csv": report.csv_rows(found)} if layers else {},
    )
