"""A sentence, word by word, as a trained sentiment model reads it."""

import contextlib

from experiments import runner
from experiments.negation_pairs import PAIRS, Pair

GATES = ("i", "f", "o", "g", "c", "h")

# So many of the units that move most are listed.
MOVING = 8


def open_run(path: str):
    """Return the sentiment run of a folder.

    Raises:
        ValueError: The folder holds no such run.
    """
    import lstm_keras
    from lstm_keras.runs import SentimentRun

    run = lstm_keras.load_run(path)
    if not isinstance(run, SentimentRun):
        raise ValueError(
            "expected --run as a run of experiments.imdb_sentiment; received "
            f"{run.config['experiment']} in {path}"
        )
    return run


def check_pairs(run) -> None:
    """Refuse a run that would cut the pairs' sentences off.

    Raises:
        ValueError: It reads too few words.
    """
    longest = max(len(run.vocabulary.encode(pair.negated)) for pair in PAIRS)
    if run.config["maxlen"] < longest:
        raise ValueError(
            f"expected a run that reads {longest} words, for the pairs of sentences "
            f"(--no-pairs leaves them out); received maxlen={run.config['maxlen']}"
        )


def read_sentence(run, text: str) -> dict:
    """Return what the model does at each word of a text, and which words decided.

    Returns:
        `words`, the `probability` and the `probabilities` after each word, a
        `lstm_keras.Attribution` or the reason why there is none by method in
        `attributions`, and by layer its `LayerTrace` in `traces`.

    Raises:
        ValueError: The text has no word.
    """
    import numpy as np

    import lstm_keras
    from lstm_keras.interpret.attribution import METHODS

    ids, words = run.read(text)
    if len(words) < 2:  # a START alone
        raise ValueError(f"expected a --text with at least one word; received {text!r}")
    attributions = {}
    for method in METHODS:
        with runner.stage(f"Attribution: {method}"):
            try:
                attributions[method] = lstm_keras.attribute(run, text, method)
            except ValueError as error:
                attributions[method] = str(error)
    after_each = _probability(attributions["prefix"].outputs)
    with runner.stage("Gates"):
        traces = dict(lstm_keras.trace_gates(run.model, np.asarray(ids)[None]))
    return {
        "words": words,
        "probability": float(after_each[-1]),
        "probabilities": after_each.tolist(),
        "attributions": attributions,
        "traces": traces,
    }


def moving_units(trace, words: int) -> list[tuple[int, float]]:
    """Return all units by how far their cell state moves over the last `words` steps.

    Returns:
        Unit and the sum of |c_t - c_{t-1}|, the largest first.
    """
    import numpy as np

    c = trace.c[0]
    if trace.backwards:
        before = np.concatenate([c[1:], trace.c0])
    else:
        before = np.concatenate([trace.c0, c[:-1]])
    moved = np.abs(c - before)[-words:].sum(axis=0)
    return [(int(unit), float(moved[unit])) for unit in np.argsort(-moved)]


def page_data(found: dict) -> dict:
    """Return what the page shows of `read_sentence`'s result, as JSON takes it."""
    count = len(found["words"])
    layers = [
        {
            "name": name,
            "order": [unit for unit, _ in moving_units(trace, count)],
            **{
                gate: getattr(trace, gate)[0, -count:].round(3).tolist()
                for gate in GATES
            },
        }
        for name, trace in found["traces"].items()
    ]
    return {
        "words": list(found["words"]),
        "probabilities": [round(p, 4) for p in found["probabilities"]],
        "methods": {
            method: one.scores.round(4).tolist()
            for method, one in found["attributions"].items()
            if not isinstance(one, str)
        },
        "layers": layers,
    }


def measure_pairs(run) -> list[dict]:
    """Return for each pair and method what the adjective and "not" with it contribute.

    Returns:
        Rows of plain and negated sentence, adjective, whether it praises, and by
        method the contributions `[adjective, not + adjective]`.
    """
    rows = []
    for number, pair in enumerate(PAIRS, start=1):
        with runner.stage(f"Pair {number} of {len(PAIRS)}"):
            plain = _phrase(run, pair, pair.plain, [pair.adjective])
            negated = _phrase(run, pair, pair.negated, ["not", pair.adjective])
        rows.append(
            {
                "plain": pair.plain,
                "negated": pair.negated,
                "adjective": pair.adjective,
                "positive": pair.positive,
                "contributions": {m: [plain[m], negated[m]] for m in plain},
            }
        )
    return rows


def pair_shares(rows: list[dict]) -> dict[str, dict]:
    """Return by method in how many pairs the "not" changed the sign.

    Returns:
        `changed`: pairs in which it did; `as_read`: of these, those in which the
        adjective alone has the sign that a reader gives it; `pairs`: all.
    """
    shares = {}
    for method in rows[0]["contributions"]:
        both = [(row["positive"], *row["contributions"][method]) for row in rows]
        changed = [(positive, plain) for positive, plain, n in both if plain * n < 0]
        shares[method] = {
            "pairs": len(rows),
            "changed": len(changed),
            "as_read": sum(positive == (plain > 0) for positive, plain in changed),
        }
    return shares


def _phrase(run, pair: Pair, text: str, phrase: list[str]) -> dict[str, float]:
    """Return what a phrase of a text contributes, by method that the model allows."""
    import lstm_keras

    _, words = run.read(text)
    end = len(words) - (len(run.vocabulary.encode(pair.after)) - 1)
    start = end - len(phrase)
    sums = {
        method: float(lstm_keras.attribute(run, text, method).scores[start:end].sum())
        for method in ("prefix", "gradient")
    }
    with contextlib.suppress(ValueError):  # `read_sentence` has told why not
        ((part, _),) = lstm_keras.decompose_phrases(run, text, [(start, end)])
        sums["decomposition"] = part
    return sums


def _probability(logits):
    import numpy as np

    return 0.5 * (1 + np.tanh(0.5 * np.asarray(logits)))
