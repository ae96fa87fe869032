"""Measure one unit, gradients through time, and a trained model on a text."""

import dataclasses
import logging

import numpy as np

from experiments.common.lifecycle import Context
from experiments.common.result import Result
from experiments.gate_dynamics import flow, report, sentence, unit
from experiments.gate_dynamics.metrics import Metrics
from experiments.gate_dynamics.settings import Settings, read_values
from lstm_keras import LSTM


def run(settings: Settings, context: Context) -> Result[Metrics]:
    """Measure, and describe the result."""
    # Its warnings of retracing are wrong here: each function belongs to another model.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    data = {"gradient": f"the adding problem, {settings.length} steps, made up"}
    reading, pairs = None, []
    if settings.run:
        trained = sentence.open_run(settings.run)
        if settings.pairs:
            sentence.check_pairs(trained)
        data |= {"sentence": settings.text, "model": str(trained.path)}
        reading = sentence.read_sentence(trained, settings.text)
        if settings.pairs:
            pairs = sentence.measure_pairs(trained)
    values = read_values(settings.values)
    trace = unit.one_unit(values)
    flows = flow.measure(settings)
    found = Metrics(
        data=data,
        engine={"lstm_keras.LSTM": LSTM(1).explain_engine().engine},
        one_unit=unit.steps(trace, values),
        gradient=flow.ratios(flows),
        sentence=reading and reading.metrics(),
        pairs=sentence.pair_counts(pairs) if pairs else None,
    )
    return Result(
        title=f"Gate dynamics: {settings.name}",
        metrics=found,
        sections=report.sections(found, settings, trace, flows, reading, pairs),
        tables={
            "steps.csv": [dataclasses.asdict(step) for step in found.one_unit],
            "gradient_flow.csv": flow.csv_rows(flows),
            "pairs.csv": sentence.pair_csv_rows(pairs),
        },
        files={"gates.npz": lambda path: np.savez_compressed(path, **reading.arrays())}
        if reading
        else {},
    )
