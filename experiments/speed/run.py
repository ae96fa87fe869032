"""Time one part of the package."""

import math

from experiments.common.environment import environment
from experiments.common.lifecycle import Context
from experiments.common.result import Result
from experiments.common.signals import INTERRUPTED
from experiments.speed import backends, export, language, peers, report, text, variants
from experiments.speed.agenda import Agenda, load_average, load_warning
from experiments.speed.metrics import LayerMetrics, TableMetrics
from experiments.speed.settings import Settings

MEASURES = {
    "layers": backends.layers,
    "variants": variants.variants,
    "peers": peers.peers,
    "text": text.text,
    "prefixes": language.prefixes,
    "generation": language.generation,
    "export": export.export,
}


def run(settings: Settings, context: Context) -> Result[LayerMetrics | TableMetrics]:
    """Run the measurement, and return the result.

    Raises:
        KeyboardInterrupt: Ctrl-C came before anything was measured.
    """
    here, load = environment(), load_average()
    warning = load_warning(load, here.machine.cores)
    if warning:
        print(warning)
    agenda = Agenda(settings.seconds or math.inf)
    found = MEASURES[settings.measure](settings, agenda)
    if not any(found.results.values()):
        raise KeyboardInterrupt
    found.environment = found.environment or here
    found.load_average, found.missing = load, agenda.missing
    ending = report.ending(found.missing, settings.seconds, agenda.interrupted)
    layers = isinstance(found, LayerMetrics)
    return Result(
        title=f"Speed: {settings.name}",
        metrics=found,
        finding=report.finding(found),
        sections=report.sections(found, [ending, warning]),
        status=INTERRUPTED if agenda.interrupted else 0,
        ending=ending,
        tables={"results.csv": report.csv_rows(found)} if layers else {},
    )
