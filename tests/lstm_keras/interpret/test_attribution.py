"""What words contribute, against predictions of real prefixes and the reference."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops

import lstm_keras
from lstm_keras import attribute, decompose_phrases
from lstm_keras.interpret import attribution
from lstm_keras.interpret.attribution import METHODS
from lstm_keras.interpret.decomposition import decompose_states
from lstm_keras.language_model.model import build_language_model
from lstm_keras.preprocessing.vocabulary import END, START, Vocabulary
from lstm_keras.reference import lstm_backward, lstm_forward
from tests.helpers.equality import TOLERANCES, normal, randomize_weights
from tests.helpers.models import assert_same_attributes, attributes
from tests.helpers.pairwise import first_of

WORDS = "good bad film the a not".split()
SIZE, VECTOR, UNITS, MAXLEN = 4 + len(WORDS), 3, 4, 6
IDS = np.array([START, 6, 4, 9, 5, 7], "int32")
PADDED = np.array([0, 0, START, 6, 4, 9], "int32")


def sentiment_model(layer=None, mask_zero=False, head=None, maxlen=None, between=()):
    """Random weights, large enough that words and their order matter."""
    model = keras.Sequential(
        [
            keras.Input((maxlen,), dtype="int32"),
            layers.Embedding(SIZE, VECTOR, mask_zero=mask_zero),
            *between,
            layer or layers.LSTM(UNITS, name="lstm"),
            *between,
            head or layers.Dense(1, "sigmoid"),
        ]
    )
    randomize_weights(model)
    return model


def next_word_model(layer=layers.LSTM, tied=False, mask_padding=False, **arguments):
    layer = layer(UNITS, return_sequences=True, return_state=True, **arguments)
    options = {"tied": tied, "mask_padding": mask_padding}
    model = build_language_model(SIZE, UNITS, [layer], **options).model
    randomize_weights(model)
    return model


def call(model, rows):
    """The outputs of a model in double precision, without compiling it."""
    return ops.convert_to_numpy(model(np.array(rows))).astype("float64")


def logits_of(model, rows):
    """The logits of a sentiment model, from the probabilities that it predicts."""
    probabilities = call(model, rows)[:, 0]
    return np.log(probabilities) - np.log1p(-probabilities)


def log_probabilities_of(model, ids):
    """The logarithms of what a next-word model predicts after ids."""
    logits = call(model, [ids])[0, -1]
    return logits - np.log(np.exp(logits).sum())


def assert_sums_up(found):
    assert len(found.words) == len(found.scores)
    total = found.baseline + found.scores.sum() + found.rest
    assert total == pytest.approx(found.output, abs=1e-6)


# Prefixes.


@first_of("mask_zero", [True, False])
def test_the_score_of_a_prefix_is_the_prediction_of_the_model(mask_zero):
    model = sentiment_model(lstm_keras.LSTM(UNITS), mask_zero)
    found = attribute(model, IDS)
    embeddings, *weights, kernel, bias = model.get_weights()
    padding = 0 if mask_zero else 6  # masked, it is nothing
    rows = [[0] * max(padding - n, 0) + IDS[:n].tolist() for n in range(1, 7)]
    ends = [lstm_forward(embeddings[row][None], *weights).h_last[0] for row in rows]
    expected = (ends @ kernel + bias)[:, 0]
    np.testing.assert_allclose(found.outputs, expected, rtol=1e-4, atol=1e-5)
    assert found.output == found.outputs[-1]
    assert found.baseline == pytest.approx(logits_of(model, [[0] * 6])[0], rel=1e-4)
    before = [found.baseline, *found.outputs[:-1]]
    np.testing.assert_array_equal(found.scores, found.outputs - before)
    assert found.rest == pytest.approx(0, abs=1e-12)
    assert (found.method, found.target) == ("prefix", "positive")
    assert found.words == ("1", "6", "4", "9", "5", "7")


@pytest.mark.parametrize("front", [True, False])
def test_a_prefix_is_padded_where_the_text_is(front):
    model = sentiment_model(maxlen=MAXLEN)
    found = attribute(model, PADDED if front else np.roll(PADDED, -2))
    prefixes = [
        np.roll([*PADDED[2 : 2 + n], *[0] * (6 - n)], -n if front else 0)
        for n in range(1, 5)
    ]
    expected = logits_of(model, prefixes)
    np.testing.assert_allclose(found.outputs, expected, rtol=1e-4, atol=1e-5)
    assert found.words == ("1", "6", "4", "9")


@first_of("tied", [True, False])
def test_prefixes_of_a_next_word_model_are_its_predictions_so_far(tied):
    model = next_word_model(lstm_keras.LSTM, tied)
    found = attribute(model, IDS, target=5)
    beginnings = np.tril(np.tile(IDS, (6, 1)))  # what comes after has no influence
    logits = call(model, beginnings)[range(6), range(6)]
    expected = logits[:, 5] - np.log(np.exp(logits).sum(axis=1))
    np.testing.assert_allclose(found.outputs, expected, rtol=1e-4)
    assert found.output == found.outputs[-1]
    assert found.baseline == found.outputs[0] and found.scores[0] == 0
    np.testing.assert_allclose(
        found.scores[1:], np.diff(expected), rtol=1e-3, atol=1e-4
    )
    assert found.rest == pytest.approx(0, abs=1e-12)
    assert found.target == "5"
    # The next word is the one after the last token, not after the padding.
    padded = attribute(model, [*IDS, 0, 0], target=5)
    np.testing.assert_allclose(padded.outputs, expected, rtol=1e-4)
    assert attribute(model, [*IDS, 0, 0]).target == attribute(model, IDS).target


def test_masked_padding_of_a_next_word_model_is_not_a_word():
    model = next_word_model(mask_padding=True)
    found, padded, by_gradients = (
        attribute(model, ids, method, target=5)
        for ids, method in [
            *((PADDED[2:], "prefix"), (PADDED, "prefix"), (PADDED, "gradient"))
        ]
    )
    assert found.words == padded.words == by_gradients.words == ("1", "6", "4", "9")
    np.testing.assert_allclose(padded.scores, found.scores, atol=1e-5)
    assert padded.output == pytest.approx(found.output, rel=1e-5)
    assert by_gradients.output == pytest.approx(found.output, rel=1e-5)
    assert_sums_up(by_gradients)


# Integrated gradients.


@first_of("kind", ["masked", "built-in"])
def test_integrated_gradients_are_those_of_the_reference(kind):
    layer = {"masked": lstm_keras.LSTM, "built-in": layers.LSTM}[kind](UNITS)
    model = sentiment_model(layer, mask_zero=kind == "masked")
    found = attribute(model, PADDED, "gradient")
    embeddings, weights = model.layers[0].get_weights()[0], layer.get_weights()
    kernel, bias = (w.astype("float64") for w in model.layers[-1].get_weights())
    mask = PADDED > 0 if kind == "masked" else np.ones(6, bool)
    points = 2000
    at = (np.arange(points) + 0.5)[:, None, None] / points
    start, end = embeddings[np.zeros(6, int)], embeddings[PADDED]
    forward = lstm_forward(
        start + at * (end - start), *weights, mask=np.tile(mask, (points, 1))
    )
    gradient = lstm_backward(forward, dh_last=np.tile(kernel[:, 0], (points, 1))).x
    scores = ((end - start) * gradient.mean(axis=0)).sum(axis=-1)
    np.testing.assert_allclose(
        found.scores, scores[2:], rtol=1e-3, atol=1e-4 * np.abs(scores).max()
    )
    ends = lstm_forward(np.stack([start, end]), *weights, mask=np.stack([mask] * 2))
    baseline, output = (ends.h_last @ kernel)[:, 0] + bias
    assert found.baseline == pytest.approx(baseline, rel=TOLERANCES["float32"])
    assert found.output == pytest.approx(output, rel=TOLERANCES["float32"])
    assert abs(found.rest) <= 0.01 * abs(found.output - found.baseline)
    assert_sums_up(found)


@first_of("make", [lambda n: layers.Bidirectional(layers.LSTM(n)), layers.SimpleRNN])
def test_gradients_of_other_models_are_complete_too(make):
    model = sentiment_model(make(UNITS), mask_zero=True)
    found = attribute(model, IDS, "gradient")
    assert found.output == pytest.approx(logits_of(model, [IDS])[0], rel=1e-4)
    assert abs(found.rest) <= 0.01 * abs(found.output - found.baseline)


def test_words_of_a_linear_model_have_their_terms_of_the_sum():
    model = sentiment_model(layers.GlobalAveragePooling1D())
    found = attribute(model, IDS, "gradient")
    embeddings, kernel, _ = model.get_weights()
    expected = (embeddings[IDS] - embeddings[0]) @ kernel[:, 0] / len(IDS)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5, atol=1e-6)
    assert found.baseline == pytest.approx(logits_of(model, [[0] * 6])[0], rel=1e-4)


def test_a_mean_over_words_has_no_value_without_any():
    model = sentiment_model(layers.GlobalAveragePooling1D(), mask_zero=True)
    found = attribute(model, IDS, "prefix")
    assert found.baseline == pytest.approx(logits_of(model, [IDS[:1]])[0], rel=1e-4)
    assert_sums_up(found)


def test_points_are_added_until_the_scores_sum_up(monkeypatch):
    model = sentiment_model()
    monkeypatch.setattr(attribution, "POINTS", (1,))
    with pytest.warns(UserWarning, match="1 points leave .* unexplained"):
        few = attribute(model, IDS, "gradient")
    assert abs(few.rest) > 0.01 * abs(few.output - few.baseline)
    assert_sums_up(few)
    monkeypatch.setattr(attribution, "POINTS", (1, 65))  # in two batches
    many = attribute(model, IDS, "gradient")
    assert abs(many.rest) <= 0.01 * abs(many.output - many.baseline)


@first_of("tied", [True, False])
def test_gradients_of_a_next_word_model_are_complete(tied):
    model = next_word_model(tied=tied)
    # The next word is the one after the last token, not after the padding.
    found = attribute(model, [*IDS, 0, 0], "gradient", target=6)
    assert found.output == pytest.approx(log_probabilities_of(model, IDS)[6], rel=1e-4)
    baseline = log_probabilities_of(model, [0] * 6)[6]
    assert found.baseline == pytest.approx(baseline, rel=1e-4)
    assert abs(found.rest) <= 0.01 * abs(found.output - found.baseline)
    assert np.abs(found.scores).max() > 0.01


def test_a_gradient_is_that_of_finite_differences():
    # Of a text of one word, next to its baseline: score = difference * slope.
    model = sentiment_model(layers.SimpleRNN(UNITS))
    embedding = model.layers[0]
    (vectors,) = embedding.get_weights()
    vectors[4] = vectors[0] + 1e-2 * normal(VECTOR, seed=7)
    embedding.set_weights([vectors])
    found = attribute(model, [4], "gradient")
    before, after = logits_of(model, [[0], [4]])
    assert found.scores[0] == pytest.approx(after - before, rel=1e-3)


# Decomposition.


@pytest.mark.parametrize(
    ("make", "arguments", "mask_zero"),
    [
        (lstm_keras.LSTM, {}, False),
        (lstm_keras.LSTM, {"go_backwards": True}, True),
        (layers.LSTM, {"use_bias": False}, True),
    ],
)
def test_a_decomposition_sums_to_the_logit(make, arguments, mask_zero):
    head = layers.Dense(1, "sigmoid", use_bias=arguments.get("use_bias", True))
    layer = make(UNITS, **arguments)
    model = sentiment_model(layer, mask_zero, head)
    found = attribute(model, PADDED, "decomposition")
    assert found.output == pytest.approx(logits_of(model, [PADDED])[0], rel=1e-4)
    kernel, *bias = head.get_weights()
    assert found.baseline == (pytest.approx(bias[0][0]) if bias else 0)
    assert_sums_up(found)
    order = slice(None, None, -1 if layer.go_backwards else 1)
    kernel_of_inputs, recurrent_kernel, *lstm_bias = layer.get_weights()
    beta, _ = decompose_states(
        model.layers[0].get_weights()[0][PADDED][order],
        kernel_of_inputs,
        recurrent_kernel,
        lstm_bias[0] if lstm_bias else None,
        np.eye(6, dtype=bool)[2:, order],
        PADDED[order] > 0 if mask_zero else None,
    )
    np.testing.assert_allclose(found.scores, beta @ kernel[:, 0], rtol=1e-9)


def test_phrases_and_what_is_left_sum_to_the_logit():
    model = sentiment_model(mask_zero=True)
    phrases = [(0, 4), (0, 1), (1, 2), (2, 3), (3, 4), (1, 3)]
    found = np.array(decompose_phrases(model, PADDED, phrases))
    bias = model.layers[-1].get_weights()[1][0]
    logit = logits_of(model, [PADDED])[0]
    np.testing.assert_allclose(found.sum(axis=1) + bias, logit, rtol=1e-4)
    assert found[0, 1] == pytest.approx(0, abs=1e-12)
    words = attribute(model, PADDED, "decomposition").scores
    np.testing.assert_allclose(found[1:5, 0], words, rtol=1e-9)
    # A phrase is more than its words.
    assert abs(found[5, 0] - words[1] - words[2]) > 1e-6
    assert decompose_phrases(model, PADDED, []) == []


@pytest.mark.parametrize("method", ["prefix", "decomposition"])
def test_dropout_between_the_layers_is_accepted(method):
    found, expected = (
        attribute(sentiment_model(mask_zero=True, between=between), IDS, method).scores
        for between in ([layers.Dropout(0.5)], [])
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


# Runs.


def run_of(folder, model, config, **options):
    model.save(folder / "model.keras")
    Vocabulary(WORDS, **options).save(folder / "vocabulary.json")
    (folder / "config.json").write_text(json.dumps(config))
    return lstm_keras.load_run(folder)


@pytest.fixture(scope="module")
def sentiment_run(tmp_path_factory):
    model = sentiment_model(maxlen=MAXLEN)
    return run_of(tmp_path_factory.mktemp("runs"), model, {"maxlen": MAXLEN})


@pytest.fixture(scope="module")
def next_word_run(tmp_path_factory):
    config = {"experiment": "next_word", "split": "lines"}
    folder = tmp_path_factory.mktemp("runs")
    return run_of(folder, next_word_model(), config, tokenizer="text")


def assert_same_attribution(found, expected):
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-7)
    assert found.output == pytest.approx(expected.output, rel=1e-6)
    assert found.baseline == pytest.approx(expected.baseline, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_attributes_the_ids_of_its_text(sentiment_run, method):
    found = attribute(sentiment_run, "Not a GREAT film", method)
    ids = [0, START, 9, 8, 2, 6]
    assert_same_attribution(found, attribute(sentiment_run.model, ids, method))
    assert found.words == ("[START]", "not", "a", "great [UNK]", "film")
    assert (found.method, found.target) == (method, "positive")
    (prediction,) = sentiment_run.predict(["not a great film"])
    probability = 1 / (1 + np.exp(-found.output))
    assert probability == pytest.approx(prediction.probability, rel=1e-5)


def test_phrases_of_the_text_of_a_run_are_decomposed(sentiment_run):
    (one,) = decompose_phrases(sentiment_run, "the film", [(1, 3)])
    (other,) = decompose_phrases(sentiment_run.model, [0, 0, 0, 1, 7, 6], [(1, 3)])
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_the_next_word_is_named_or_given_by_id(next_word_run):
    text, ids = "The film not", [START, 7, 6, 9]
    by_word = attribute(next_word_run, text, target="bad")
    by_id = attribute(next_word_run, text, target=np.int64(5))
    of_model = attribute(next_word_run.model, ids, target=5)
    assert by_word.words == ("[START]", "the", "film", "not")
    assert of_model.words == ("1", "7", "6", "9")
    assert (by_word.target, by_id.target, of_model.target) == ("bad", "bad", "5")
    for found in (by_id, of_model):
        assert_same_attribution(found, by_word)
    for i, name in ((END, "[END]"), (2, "[UNK]"), (0, "[PAD]")):
        assert attribute(next_word_run, "the", target=i).target == name


@pytest.mark.parametrize("text", ["", "the film"])
def test_the_next_word_is_the_most_probable_one_by_default(next_word_run, text):
    found = attribute(next_word_run, text)
    word, probability = next_word_run.next_words(text, 1)[0]
    assert found.target == word
    assert np.exp(found.output) == pytest.approx(probability, rel=1e-5)


# The model afterwards.


@pytest.mark.parametrize(
    ("method", "of_next_words"), [*((m, False) for m in METHODS), ("gradient", True)]
)
def test_the_model_is_unchanged_afterwards(method, of_next_words):
    dropout = {"dropout": 0.5, "recurrent_dropout": 0.5}
    model = sentiment_model(layers.LSTM(UNITS, **dropout))
    if of_next_words:
        model = next_word_model(tied=True, **dropout)
    expected, before = call(model, [IDS]), attributes(model)
    values = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    attribute(model, IDS, method)
    assert_same_attributes(before, attributes(model))
    for variable, value in zip(model.variables, values, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    np.testing.assert_array_equal(call(model, [IDS]), expected)


# Errors.


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ("a good film", r"expected ids \(time,\) for a Keras model, .*'a good film'"),
        ([0.5, 1.0], r"whole numbers of shape \(time,\); received float64"),
        (IDS[None], r"received int32 of shape \(1, 6\)"),
        (np.array([], int), "at least one token; received none"),
        ([0, 0], "at least one token; received none"),
        ([START, SIZE], r"expected ids in \[0, 10\); received"),
        ([START, -1], r"expected ids in \[0, 10\); received"),
        ([3, 0, 4, 5], "padding before or behind the tokens"),
    ],
)
def test_invalid_ids_are_errors(sentiment_run, next_word_run, ids, message):
    for run in (sentiment_run, next_word_run):
        with pytest.raises(ValueError, match=message):
            attribute(run.model, ids)


@pytest.mark.parametrize(
    ("of_next_words", "target", "message"),
    [
        *((False, t, f"next-word model only.*target={t!r}") for t in (5, "good")),
        *(
            (True, t, rf"target in \[0, {SIZE}\); received {t!r}")
            for t in (-1, SIZE, 2.5)
        ),
        (True, "zebra", "expected a target .*; received 'zebra'"),
    ],
)
def test_a_target_must_be_a_next_word_of_the_vocabulary(
    sentiment_run, next_word_run, of_next_words, target, message
):
    run = next_word_run if of_next_words else sentiment_run
    for model, text in ((run, "a"), (run.model, IDS)):
        with pytest.raises(ValueError, match=message):
            attribute(model, text, target=target)


@pytest.mark.parametrize("phrase", [(0, 0), (-1, 2), (1, 5), (3, 2)], ids=str)
def test_phrases_must_lie_within_the_text(sentiment_run, phrase):
    message = r"expected phrases within the 4 tokens .*'9'.*; received \("
    with pytest.raises(ValueError, match=message):
        decompose_phrases(sentiment_run.model, PADDED, [(0, 1), phrase])


def model_of_two_embeddings():
    ids = keras.Input((None,), dtype="int32")
    both = [layers.Embedding(SIZE, VECTOR)(ids) for _ in range(2)]
    hidden = layers.LSTM(UNITS)(layers.Concatenate()(both))
    return keras.Model(ids, layers.Dense(1, "sigmoid")(hidden))


def test_prefixes_need_no_embedding_alone():
    model = model_of_two_embeddings()
    found = attribute(model, IDS, "prefix")
    assert found.output == pytest.approx(logits_of(model, [IDS])[0], abs=1e-5)


def test_gradients_of_two_embeddings_are_those_of_one_with_both_vectors():
    two = model_of_two_embeddings()
    *vectors, kernel, recurrent, bias, weights, offset = two.get_weights()
    ids = keras.Input((None,), dtype="int32")
    hidden = layers.LSTM(UNITS)(layers.Embedding(SIZE, 2 * VECTOR)(ids))
    one = keras.Model(ids, layers.Dense(1, "sigmoid")(hidden))
    both = np.concatenate(vectors, axis=1)
    one.set_weights([both, kernel, recurrent, bias, weights, offset])
    scores = [attribute(model, IDS, "gradient").scores for model in (one, two)]
    np.testing.assert_allclose(*scores, atol=1e-6)


def model_that_looks_its_ids_up_twice():
    ids = keras.Input((6,), dtype="int32")
    embedding, lstm = layers.Embedding(SIZE, VECTOR), layers.LSTM(UNITS)
    both = lstm(embedding(ids)) + lstm(embedding(ops.flip(ids, axis=1)))
    return keras.Model(ids, layers.Dense(1, activation="sigmoid")(both))


class Subclass(keras.Model):
    def call(self, ids):
        return ids


HEAD = (
    r"expected a model that ends with Dense\(1, activation='sigmoid'\), or one with "
    "logits .*; received Embedding .*, LSTM 'lstm', Dense"
)
PARTS = "to decompose: Embedding, one LSTM with tanh .*received Embedding .*, {} .*, De"
RUN = r"expected a run of lstm_keras\.load_run or a Keras model; received LSTM"


def with_layer(make, **arguments):
    return lambda: sentiment_model(make(UNITS, **arguments))


@pytest.mark.parametrize(
    ("make", "method", "message"),
    [
        (sentiment_model, "lime", r"expected method as one of \('prefix', .*'lime'"),
        (lambda: lstm_keras.LSTM(UNITS), "prefix", RUN),
        (Subclass, "prefix", "built Sequential or functional model"),
        (lambda: sentiment_model(head=layers.Dense(1)), "prefix", HEAD),
        (lambda: sentiment_model(head=layers.Dense(2, "softmax")), "gradient", HEAD),
        (lambda: sentiment_model(head=layers.Dense(1, "tanh")), "decomposition", HEAD),
        (model_that_looks_its_ids_up_twice, "gradient", "ids up once.*2 calls of 1"),
        (with_layer(layers.GRU), "decomposition", PARTS.format("GRU")),
        (
            lambda: sentiment_model(layers.Bidirectional(layers.LSTM(UNITS))),
            "decomposition",
            PARTS.format("Bidirectional"),
        ),
        *(
            (
                with_layer(lstm_keras.LSTM, **option),
                "decomposition",
                PARTS.format("LSTM"),
            )
            for option in (
                {"activation": "relu"},
                {"recurrent_activation": "hard_sigmoid"},
                {"learn_initial_state": True},
            )
        ),
        (next_word_model, "decomposition", "expected a sentiment model to decompose"),
    ],
)
def test_what_a_method_cannot_attribute_is_an_error(make, method, message):
    model = make()
    with pytest.raises(ValueError, match=message):
        attribute(model, IDS, method)


def test_ids_are_checked_without_an_embedding_too():
    with pytest.raises(ValueError, match=r"expected ids in \[0, inf\)"):
        attribute(Subclass(), [-1])
