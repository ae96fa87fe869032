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
from tests.helpers.pairwise import first_of, pairwise

WORDS = "good bad film the a not".split()
SIZE, VECTOR, UNITS, MAXLEN = 4 + len(WORDS), 3, 4, 6
IDS = np.array([START, 6, 4, 9, 5, 7], "int32")
PADDED = np.array([0, 0, START, 6, 4, 9], "int32")

every_method = pytest.mark.parametrize("method", METHODS)
masked_or_not = pytest.mark.parametrize("mask_zero", [False, True])


def sentiment_model(
    layer=None, mask_zero=False, head=None, maxlen=None, seed=4, between=()
):
    """Random weights, large enough that words and their order matter."""
    layer = lstm_keras.LSTM(UNITS, name="lstm") if layer is None else layer
    head = layers.Dense(1, "sigmoid") if head is None else head
    model = keras.Sequential(
        [
            keras.Input((maxlen,), dtype="int32"),
            layers.Embedding(SIZE, VECTOR, mask_zero=mask_zero),
            *between,
            layer,
            *between,
            head,
        ]
    )
    randomize_weights(model, seed)
    return model


def next_word_model(tied=False, **arguments):
    layer = lstm_keras.LSTM(
        UNITS, return_sequences=True, return_state=True, **arguments
    )
    model = build_language_model(SIZE, UNITS, [layer], tied=tied).model
    randomize_weights(model)
    return model


def logits_of(model, rows):
    """The logits of a sentiment model, from the probabilities that it predicts."""
    probabilities = model.predict(np.array(rows), verbose=0)[:, 0].astype("float64")
    return np.log(probabilities) - np.log1p(-probabilities)


def log_probabilities_of(model, ids):
    """The logarithms of what a next-word model predicts after ids."""
    logits = model.predict(np.array(ids)[None], verbose=0)[0, -1].astype("float64")
    return logits - np.log(np.exp(logits).sum())


def assert_sums_up(found):
    assert len(found.words) == len(found.scores)
    total = found.baseline + found.scores.sum() + found.rest
    assert total == pytest.approx(found.output, abs=1e-6)


# Prefixes.


@masked_or_not
@first_of("make", [lstm_keras.LSTM, layers.LSTM, layers.GRU])
def test_the_score_of_a_prefix_is_the_prediction_of_the_model(make, mask_zero):
    model = sentiment_model(make(UNITS), mask_zero)
    found = attribute(model, IDS)
    if mask_zero:  # Then padding is nothing.
        expected = [logits_of(model, [IDS[:n]])[0] for n in range(1, 7)]
    else:
        expected = logits_of(
            model, [[0] * (6 - n) + IDS[:n].tolist() for n in range(1, 7)]
        )
    np.testing.assert_allclose(found.outputs, expected, rtol=1e-4, atol=1e-5)
    assert found.output == found.outputs[-1]
    assert found.baseline == pytest.approx(logits_of(model, [[0] * 6])[0], rel=1e-4)
    np.testing.assert_array_equal(
        found.scores, found.outputs - [found.baseline, *found.outputs[:-1]]
    )
    assert found.rest == pytest.approx(0, abs=1e-12)
    assert (found.method, found.target) == ("prefix", "positive")
    assert found.words == ("1", "6", "4", "9", "5", "7")


@pytest.mark.parametrize("front", [True, False])
def test_a_prefix_is_padded_where_the_text_is(front):
    model = sentiment_model(maxlen=MAXLEN)
    ids = PADDED if front else np.roll(PADDED, -2)
    found = attribute(model, ids)
    tokens = PADDED[2:].tolist()
    prefixes = [
        [0] * (6 - n) + tokens[:n] if front else tokens[:n] + [0] * (6 - n)
        for n in range(1, 5)
    ]
    expected = logits_of(model, prefixes)
    np.testing.assert_allclose(found.outputs, expected, rtol=1e-4, atol=1e-5)
    assert found.words == ("1", "6", "4", "9")


@first_of("tied", [True, False])
def test_prefixes_of_a_next_word_model_are_its_predictions_so_far(tied):
    model = next_word_model(tied)
    found = attribute(model, IDS, target=5)
    expected = [log_probabilities_of(model, IDS[:n])[5] for n in range(1, 7)]
    np.testing.assert_allclose(found.outputs, expected, rtol=1e-4)
    assert found.output == found.outputs[-1]
    assert found.baseline == found.outputs[0] and found.scores[0] == 0
    np.testing.assert_allclose(
        found.scores[1:], np.diff(expected), rtol=1e-3, atol=1e-4
    )
    assert found.rest == pytest.approx(0, abs=1e-12)
    assert found.target == "5"


def test_padding_of_a_next_word_model_is_not_a_word():
    layer = layers.LSTM(UNITS, return_sequences=True, return_state=True)
    model = build_language_model(SIZE, VECTOR, [layer], mask_padding=True).model
    randomize_weights(model)
    for method in ("prefix", "gradient"):
        padded = attribute(model, PADDED, method, target=5)
        found = attribute(model, PADDED[2:], method, target=5)
        assert padded.words == found.words == ("1", "6", "4", "9")
        assert padded.output == pytest.approx(found.output, rel=1e-5)
        if method == "prefix":
            np.testing.assert_allclose(padded.scores, found.scores, atol=1e-5)
        else:
            assert_sums_up(padded)


# Integrated gradients.


@masked_or_not
@first_of("make", [lstm_keras.LSTM, layers.LSTM])
def test_integrated_gradients_are_those_of_the_reference(make, mask_zero):
    layer = make(UNITS)
    model = sentiment_model(layer, mask_zero)
    found = attribute(model, PADDED, "gradient")
    embeddings, weights = model.layers[0].get_weights()[0], layer.get_weights()
    kernel, bias = (w.astype("float64") for w in model.layers[-1].get_weights())
    mask = PADDED > 0 if mask_zero else np.ones(6, bool)
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


@first_of(
    "make",
    [
        lambda: layers.Bidirectional(layers.LSTM(UNITS)),
        lambda: layers.SimpleRNN(UNITS),
        lambda: layers.Bidirectional(layers.GRU(UNITS)),
    ],
)
def test_gradients_of_other_models_are_complete_too(make):
    model = sentiment_model(make(), mask_zero=True)
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


def test_points_are_added_until_the_scores_sum_up(monkeypatch):
    model = sentiment_model()
    embedding = model.layers[0]
    embedding.set_weights([25 * w for w in embedding.get_weights()])
    points = attribution.POINTS
    monkeypatch.setattr(attribution, "POINTS", points[:1])
    with pytest.warns(UserWarning, match="unexplained"):
        few = attribute(model, IDS, "gradient")
    assert abs(few.rest) > 0.01 * abs(few.output - few.baseline)
    monkeypatch.setattr(attribution, "POINTS", points)
    many = attribute(model, IDS, "gradient")
    assert abs(many.rest) <= 0.01 * abs(many.output - many.baseline)
    assert_sums_up(few)


@first_of("tied", [True, False])
def test_gradients_of_a_next_word_model_are_complete(tied):
    model = next_word_model(tied)
    found = attribute(model, IDS, "gradient", target=6)
    assert found.output == pytest.approx(log_probabilities_of(model, IDS)[6], rel=1e-4)
    baseline = log_probabilities_of(model, [0] * 6)[6]
    assert found.baseline == pytest.approx(baseline, rel=1e-4)
    assert abs(found.rest) <= 0.01 * abs(found.output - found.baseline)
    assert np.abs(found.scores).max() > 0.01


def test_a_gradient_is_that_of_finite_differences():
    # Of a text of one word, next to its baseline: score = difference * slope.
    model = sentiment_model()
    embedding = model.layers[0]
    (vectors,) = embedding.get_weights()
    vectors[4] = vectors[0] + 1e-2 * normal(VECTOR, seed=7)
    embedding.set_weights([vectors])
    found = attribute(model, [4], "gradient")
    kernel, bias = (w.astype("float64") for w in model.layers[-1].get_weights())
    ends = lstm_forward(vectors[[0, 4]][:, None], *model.layers[1].get_weights())
    before, after = (ends.h_last @ kernel + bias)[:, 0]
    assert found.scores[0] == pytest.approx(after - before, rel=1e-3)


# Decomposition.


@pairwise(
    make=[lstm_keras.LSTM, layers.LSTM],
    arguments=[{}, {"go_backwards": True}, {"use_bias": False}],
    mask_zero=[False, True],
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
    steps = np.eye(6, dtype=bool)[2:]
    order = slice(None, None, -1 if layer.go_backwards else 1)
    kernel_of_inputs, recurrent_kernel, *lstm_bias = layer.get_weights()
    beta, _ = decompose_states(
        model.layers[0].get_weights()[0][PADDED][order],
        kernel_of_inputs,
        recurrent_kernel,
        lstm_bias[0] if lstm_bias else None,
        steps[:, order],
        PADDED[order] > 0 if mask_zero else None,
    )
    np.testing.assert_allclose(found.scores, beta @ kernel[:, 0], rtol=1e-9)


def test_phrases_and_what_is_left_sum_to_the_logit():
    model = sentiment_model(mask_zero=True)
    phrases = [(0, 4), (0, 1), (1, 2), (2, 3), (3, 4), (1, 3)]
    found = decompose_phrases(model, PADDED, phrases)
    bias = model.layers[-1].get_weights()[1][0]
    for phrase, rest in found:
        assert phrase + rest + bias == pytest.approx(
            logits_of(model, [PADDED])[0], rel=1e-4
        )
    assert found[0][1] == pytest.approx(0, abs=1e-12)
    words = attribute(model, PADDED, "decomposition")
    np.testing.assert_allclose(
        [phrase for phrase, _ in found[1:5]], words.scores, rtol=1e-9
    )
    # A phrase is more than its words.
    assert abs(found[5][0] - words.scores[1] - words.scores[2]) > 1e-6
    assert decompose_phrases(model, PADDED, []) == []


def test_dropout_between_the_layers_is_accepted():
    between = [layers.Dropout(0.5)]
    model = sentiment_model(mask_zero=True, between=between)
    plain = sentiment_model(mask_zero=True)
    for method in METHODS:
        found, expected = (attribute(one, IDS, method) for one in (model, plain))
        np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("phrase", [(0, 0), (-1, 2), (1, 5), (3, 2)], ids=str)
def test_phrases_must_lie_within_the_text(phrase):
    with pytest.raises(
        ValueError, match=r"expected phrases within the 4 tokens .*'9'.*; received \("
    ):
        decompose_phrases(sentiment_model(), PADDED, [(0, 1), phrase])


# Runs.


@pytest.fixture(scope="module")
def sentiment_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    sentiment_model(maxlen=MAXLEN).save(folder / "model.keras")
    Vocabulary(WORDS).save(folder / "vocabulary.json")
    (folder / "config.json").write_text(json.dumps({"maxlen": MAXLEN}))
    return lstm_keras.load_run(folder)


@pytest.fixture(scope="module")
def next_word_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    next_word_model().save(folder / "model.keras")
    Vocabulary(WORDS, tokenizer="text").save(folder / "vocabulary.json")
    config = {"experiment": "next_word", "split": "lines"}
    (folder / "config.json").write_text(json.dumps(config))
    return lstm_keras.load_run(folder)


def assert_same_attribution(found, expected):
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5, atol=1e-7)
    assert found.output == pytest.approx(expected.output, rel=1e-6)
    assert found.baseline == pytest.approx(expected.baseline, rel=1e-6)


@every_method
def test_a_run_attributes_the_ids_of_its_text(sentiment_run, method):
    found = attribute(sentiment_run, "Not a GREAT film", method)
    ids = [0, START, 9, 8, 2, 6]
    assert_same_attribution(found, attribute(sentiment_run.model, ids, method))
    assert found.words == ("[START]", "not", "a", "great [UNK]", "film")
    assert (found.method, found.target) == (method, "positive")
    (prediction,) = sentiment_run.predict(["not a great film"])
    assert 1 / (1 + np.exp(-found.output)) == pytest.approx(
        prediction.probability, rel=1e-5
    )


def test_words_of_a_long_text_are_those_that_the_model_reads(sentiment_run):
    found = attribute(sentiment_run, "the a the a not a good film the bad")
    assert found.words == ("not", "a", "good", "film", "the", "bad")


def test_the_prefixes_of_a_run_are_texts_of_their_own(sentiment_run):
    text = "the film not good"
    found = attribute(sentiment_run, text)
    texts = [" ".join(text.split()[:n]) for n in range(5)]
    expected = [one.probability for one in sentiment_run.predict(texts)]
    np.testing.assert_allclose(1 / (1 + np.exp(-found.outputs)), expected, rtol=1e-5)


def test_phrases_of_the_text_of_a_run_are_decomposed(sentiment_run):
    (one,) = decompose_phrases(sentiment_run, "the film", [(1, 3)])
    (other,) = decompose_phrases(sentiment_run.model, [0, 0, 0, 1, 7, 6], [(1, 3)])
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_a_text_without_words_has_its_start(sentiment_run):
    assert attribute(sentiment_run, "").words == ("[START]",)


@pytest.mark.parametrize("method", ["prefix", "gradient"])
def test_the_next_word_is_named_or_given_by_id(next_word_run, method):
    text, ids = "The film not", [START, 7, 6, 9]
    by_word = attribute(next_word_run, text, method, target="bad")
    by_id = attribute(next_word_run, text, method, target=np.int64(5))
    of_model = attribute(next_word_run.model, ids, method, target=5)
    assert by_word.words == ("[START]", "the", "film", "not")
    assert of_model.words == ("1", "7", "6", "9")
    assert (by_word.target, by_id.target, of_model.target) == ("bad", "bad", "5")
    for found in (by_id, of_model):
        assert_same_attribution(found, by_word)
    expected = log_probabilities_of(next_word_run.model, ids)[5]
    assert by_word.output == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("text", ["", "the film", "not a"])
def test_the_next_word_is_the_most_probable_one_by_default(next_word_run, text):
    found = attribute(next_word_run, text)
    word, probability = next_word_run.next_words(text, 1)[0]
    assert found.target == word
    assert np.exp(found.output) == pytest.approx(probability, rel=1e-5)


def test_special_ids_are_targets_with_names_of_their_own(next_word_run):
    for i, name in ((END, "[END]"), (2, "[UNK]"), (0, "[PAD]")):
        assert attribute(next_word_run, "the", target=i).target == name


# The model afterwards.


@every_method
def test_a_sentiment_model_is_unchanged_afterwards(method):
    layer = lstm_keras.LSTM(UNITS, dropout=0.5, recurrent_dropout=0.5)
    assert_unchanged(sentiment_model(layer), method)


@pytest.mark.parametrize("method", ["prefix", "gradient"])
def test_a_next_word_model_is_unchanged_afterwards(method):
    model = next_word_model(tied=True, dropout=0.5, recurrent_dropout=0.5)
    assert_unchanged(model, method)


def assert_unchanged(model, method):
    expected = model.predict(IDS[None], verbose=0)
    before = attributes(model)
    values = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    attribute(model, IDS, method)
    assert_same_attributes(before, attributes(model))
    for variable, value in zip(model.variables, values, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    np.testing.assert_array_equal(model.predict(IDS[None], verbose=0), expected)


# Errors.


def test_an_unknown_method_is_an_error():
    with pytest.raises(
        ValueError, match=r"expected method as one of \('prefix', .*received 'lime'"
    ):
        attribute(sentiment_model(), IDS, "lime")


def test_anything_but_a_model_is_an_error():
    with pytest.raises(
        ValueError,
        match=r"expected a run of lstm_keras\.load_run or a Keras model; received LSTM",
    ):
        attribute(lstm_keras.LSTM(UNITS), IDS)


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
    ],
)
def test_invalid_ids_are_errors(ids, message):
    for model in (sentiment_model(), next_word_model()):
        with pytest.raises(ValueError, match=message):
            attribute(model, ids)


@pytest.mark.parametrize("text", [IDS.tolist(), None, ["a good film"]], ids=str)
def test_the_text_for_a_run_must_be_a_string(sentiment_run, next_word_run, text):
    for run in (sentiment_run, next_word_run):
        with pytest.raises(TypeError, match="expected"):
            attribute(run, text)


@pytest.mark.parametrize("target", [5, "good"])
def test_a_sentiment_model_has_no_target(sentiment_run, target):
    for model, text in ((sentiment_run, "a"), (sentiment_run.model, IDS)):
        with pytest.raises(
            ValueError, match=rf"for a next-word model only.*received target={target!r}"
        ):
            attribute(model, text, target=target)


@pytest.mark.parametrize("target", [-1, SIZE, 2.5])
def test_a_target_must_be_an_id(next_word_run, target):
    for model, text in ((next_word_run, "a"), (next_word_run.model, IDS)):
        with pytest.raises(
            ValueError, match=rf"expected a target in \[0, 10\); received {target}"
        ):
            attribute(model, text, target=target)


def test_a_target_must_be_a_word_of_the_vocabulary(next_word_run):
    with pytest.raises(
        ValueError, match="a target of the model's vocabulary; received 'zebra'"
    ):
        attribute(next_word_run, "a", target="zebra")
    with pytest.raises(ValueError, match=r"a target in \[0, 10\); received 'good'"):
        attribute(next_word_run.model, IDS, target="good")


@every_method
@pytest.mark.parametrize(
    "head",
    [
        lambda: layers.Dense(1),
        lambda: layers.Dense(2, "softmax"),
        lambda: layers.Dense(1, "tanh"),
    ],
)
def test_the_last_layer_must_make_a_probability(head, method):
    with pytest.raises(
        ValueError,
        match=r"expected a model that ends with Dense\(1, activation='sigmoid'\), or "
        r"one with logits .*Embedding .*, LSTM 'lstm', Dense",
    ):
        attribute(sentiment_model(head=head()), IDS, method)


def test_gradients_need_one_embedding():
    ids = keras.Input((None,), dtype="int32")
    both = [layers.Embedding(SIZE, VECTOR)(ids) for _ in range(2)]
    hidden = layers.LSTM(UNITS)(layers.Concatenate()(both))
    model = keras.Model(ids, layers.Dense(1, "sigmoid")(hidden))
    with pytest.raises(
        ValueError,
        match="expected a model with one Embedding among its layers; received 2 among",
    ):
        attribute(model, IDS, "gradient")
    found = attribute(model, IDS, "prefix")
    assert found.output == pytest.approx(logits_of(model, [IDS])[0], abs=1e-5)


class Stacked(layers.Layer):
    """Two LSTMs that look like one layer."""

    def __init__(self):
        super().__init__()
        self.both = [layers.LSTM(UNITS, return_sequences=True), layers.LSTM(UNITS)]

    def call(self, inputs):
        return self.both[1](self.both[0](inputs))


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.GRU(UNITS),
        lambda: layers.Bidirectional(layers.LSTM(UNITS)),
        lambda: layers.LSTM(UNITS, activation="relu"),
        lambda: layers.LSTM(UNITS, recurrent_activation="hard_sigmoid"),
        lambda: lstm_keras.LSTM(UNITS, learn_initial_state=True),
        Stacked,
        layers.GlobalAveragePooling1D,
    ],
)
def test_a_model_that_cannot_be_decomposed_is_an_error_that_lists_its_layers(make):
    layer = make()
    with pytest.raises(
        ValueError,
        match="expected a sentiment model to decompose: Embedding, one LSTM with tanh "
        rf".*received Embedding .*, {type(layer).__name__} .*, Dense",
    ):
        attribute(sentiment_model(layer), IDS, "decomposition")


def test_a_next_word_model_cannot_be_decomposed(next_word_run):
    for function in (
        lambda: attribute(next_word_run, "a", "decomposition"),
        lambda: decompose_phrases(next_word_run.model, IDS, [(0, 1)]),
    ):
        with pytest.raises(ValueError, match="expected a sentiment model to decompose"):
            function()


def test_a_model_that_looks_its_ids_up_twice_has_no_gradient_attribution():
    ids = keras.Input((6,), dtype="int32")
    embedding, lstm = layers.Embedding(SIZE, VECTOR), layers.LSTM(UNITS)
    both = lstm(embedding(ids)) + lstm(embedding(ops.flip(ids, axis=1)))
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid")(both))
    with pytest.raises(ValueError, match=r"looks its ids up once.*2 times"):
        attribute(model, IDS, "gradient")


@pytest.mark.parametrize("method", METHODS)
def test_padding_between_the_tokens_is_refused(method):
    with pytest.raises(ValueError, match="padding before or behind the tokens"):
        attribute(sentiment_model(), [3, 0, 4, 5], method)


@pytest.mark.parametrize("method", ["prefix", "gradient"])
def test_with_padding_the_next_word_is_the_one_after_the_last_token(method):
    model = next_word_model()
    padded = attribute(model, [*IDS, 0, 0], method, target=5)
    expected = log_probabilities_of(model, IDS)[5]
    assert padded.output == pytest.approx(expected, rel=1e-4)
    assert attribute(model, [*IDS, 0, 0]).target == attribute(model, IDS).target


@pytest.mark.thorough
def test_gradients_that_do_not_sum_up_are_a_warning():
    model = sentiment_model()
    model.set_weights([300 * weight for weight in model.get_weights()])
    with pytest.warns(UserWarning, match="256 points leave"):
        found = attribute(model, IDS, "gradient")
    total = found.baseline + found.scores.sum() + found.rest
    assert total == pytest.approx(found.output, rel=1e-6)


def test_a_model_without_an_output_shape_is_refused():
    class Own(keras.Model):
        def call(self, ids):
            return ids

    with pytest.raises(ValueError, match="built Sequential or functional model"):
        attribute(Own(), [3, 4])
    with pytest.raises(ValueError, match=r"expected ids in \[0, inf\)"):
        attribute(Own(), [-1])
