"""Measure one unit, gradients through time, and a trained model on a text."""

import dataclasses
import logging

import numpy as np

import lstm_keras
from experiments.common.lifecycle import Context
from experiments.common.result import Note, Result, Section
from experiments.gate_dynamics import flow, negation, report, sentence, unit
from experiments.gate_dynamics.metrics import Metrics
from experiments.gate_dynamics.settings import Settings, read_values
from experiments.imdb_sentiment.settings import vocabulary_note


def run(settings: Settings, context: Context) -> Result[Metrics]:
    """Measure, and describe the result."""
    # Its warnings of retracing are wrong here: each function belongs to another model.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    parts, data = settings.parts.split(","), {}
    reading, pairs, unknown, trace, flows, note = None, [], None, None, [], ""
    if settings.run:
        trained = lstm_keras.load_run(settings.run)
        data["model"] = str(trained.path)
        note = vocabulary_note(len(trained.vocabulary.words))
    if "negation" in parts:
        negation.check_pairs(trained)  # before the sentence, which takes time
        known = negation.known_pairs(trained)
        unknown = [pair.adjective for pair in negation.PAIRS if pair not in known]
    if "sentence" in parts:
        data["sentence"] = settings.text
        reading = sentence.read_sentence(trained, settings.text)
    if "negation" in parts:
        pairs = negation.measure_pairs(trained)
    values = read_values(settings.values)
    if "unit" in parts:
        trace = unit.one_unit(values)
    if "gradient" in parts:
        data["gradient"] = f"the adding problem, {settings.length} steps, made up"
        flows = flow.measure(settings)
    found = Metrics(
        data=data,
        engine={"lstm_keras.LSTM": lstm_keras.LSTM(1).explain_engine().engine},
        one_unit=trace and unit.steps(trace, values),
        gradient=flow.ratios(flows) or None,
        sentence=reading and reading.metrics(),
        pairs=negation.pair_counts(pairs) if "negation" in parts else None,
        unknown_adjectives=unknown,
    )
    finding, sections = report.sections(found, settings, trace, flows, reading, pairs)
    return Result(
        title=f"Gate dynamics: {settings.name}",
        metrics=found,
        finding=finding,
        sections=[Section(None, [Note(note)] if note else []), *sections],
        tables={
            "steps.csv": [dataclasses.asdict(step) for step in found.one_unit or ()],
            "gradient_flow.csv": flow.csv_rows(flows),
            "pairs.csv": negation.pair_csv_rows(pairs),
        },
        files={"gates.npz": lambda path: np.savez_compressed(path, **reading.arrays())}
        if reading
        else {},
    )
