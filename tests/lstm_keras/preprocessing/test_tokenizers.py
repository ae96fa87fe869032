"""Tokens, against those that a reader would write down and those of Keras's tokenizer.

TensorFlow still carries that one. Tokens joined to a text must be its tokens again.
"""

import time
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_keras.preprocessing.tokenizers import (
    join_tokens,
    shuffle_sentences,
    tokenize,
)
from tests.helpers.examples import examples

FAMILY, THUMB = "👩\u200d👩\u200d👧", "👍🏽"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Great film, GREAT cast!", "great film great cast"),
        ("one<br /><br/>two<BR>three", "one two three"),
        ('an <a href="x">old</a> one', "an old one"),
        ("3 < 5 and 7 > 2, I <3 it", "3 5 and 7 2 i 3 it"),
        ("Salt &amp; &#34;pepper&#x22;", "salt pepper"),
        ("caf&eacute; AT&T", "café at t"),
        ("10/10 or 3.5/10, $1,000 at 9:30.", "10/10 or 3.5/10 1,000 at 9:30"),
        ("7½ of 10, my film™", "7 1/2 of 10 my film tm"),
        ("2nd in the 1980's", "2nd in the 1980's"),
        ("'quoted' dogs' rock'n'roll", "quoted dogs rock'n'roll"),
        ("a well-made, _very_ good...movie", "a well made very good movie"),
        ("won\u00adder\u00adful", "wonderful"),
        ("Ｆｕｌｌ ﬁlm", "full film"),
        ("", ""),
        (" \n\t", ""),
        ("?!... --- <br />", ""),
        # Composed and decomposed letters; a capital that has no composed form.
        ("cafe\u0301 caf\u00e9", "caf\u00e9 caf\u00e9"),
        ("J\u030c \u01f0", "\u01f0 \u01f0"),
        # A numeric entity with too many digits; lone surrogates and null characters.
        ("&#" + "9" * 5000 + ";", "9" * 5000),
        ("a\ud800b \x00", "a b"),
        # Each Han character is a token, and kana stay in runs.
        ("很好！great電影", "很 好 great 電 影"),
        ("映画は面白かった", "映 画 は 面 白 かった"),
        # Emoji with their modifiers are tokens.
        (f"wow😀😀 {FAMILY}{THUMB} 🇩🇪🇫🇷 ★★", f"wow 😀 😀 {FAMILY} {THUMB} 🇩🇪 🇫🇷 ★ ★"),
        ("❤\ufe0f ❤", "❤ ❤"),
        *((f"I DON{apostrophe}T", "i don't") for apostrophe in "'’‘`´ʼ＇"),
    ],
)
def test_words_are_kept_whole_and_signs_dropped(text, tokens):
    assert tokenize(text) == tokens.split()


@pytest.mark.parametrize(
    "text",
    [
        "हिन्दी फ़िल्म अच्छी",  # vowel signs and virama, which \w does not match
        "بِسْمِ اللَّهِ",  # with vowel marks
        "می\u200cخواهم ببینم",  # a joiner inside the word
        "שָׁלוֹם עולם",
        "ภาพยนตร์ ดีมาก",
        "отличный фильм",
        "영화 좋아요",
    ],
)
def test_words_of_any_script_keep_their_marks(text):
    assert tokenize(text) == normalize("NFKC", text).split()


HOSTILE = [
    *("<", "<a", "</a ", "&", "&#", "&a", "&#9", "[", "'", "a'", "´", "1/", "9", "_"),
    *("\u200d", "\u0315\u0300", "a\u0301", "👩\u200d", "é", "http://", "www."),
    *("a.", "A.", "a@", "a@a.", "a-", "!", "(", '"', "a ' "),
]


@pytest.mark.parametrize("unit", HOSTILE)
@pytest.mark.parametrize("tokenizer", ["words", "text"])
def test_hostile_text_takes_no_more_than_linear_time(unit, tokenizer):
    text = unit * (100_000 // len(unit)) + "é"
    start = time.process_time()
    join_tokens(tokenize(text, tokenizer), tokenizer)
    # About 0.1 s, 1 s while coverage looks on; quadratic: a minute.
    assert time.process_time() - start < 20


@examples(thorough=200)
@given(st.text(), st.text())
def test_texts_side_by_side_have_the_tokens_of_each(first, second):
    first = first.replace("<", "")  # no tag across the two
    # ASCII text alone and beside other text takes two paths.
    assert tokenize(f"{first} {second}") == tokenize(first) + tokenize(second)
    assert not any(char.isspace() for token in tokenize(first) for char in token)


@examples(thorough=200)
@given(st.text())
def test_keras_tokenizer_splits_as_the_one_of_keras(text):
    tf = pytest.importorskip("tensorflow")
    oracle = tf.keras.preprocessing.text.text_to_word_sequence
    assert tokenize(text, "keras") == oracle(text)


@pytest.mark.parametrize("text", [None, 5, b"bytes", ["a"]])
def test_tokenizing_anything_but_a_string_is_refused(text):
    with pytest.raises(TypeError, match="expected a string"):
        tokenize(text)


@pytest.mark.parametrize("function", [tokenize, join_tokens])
def test_unknown_tokenizer_is_refused(function):
    with pytest.raises(ValueError, match="received 'bpe'"):
        function("a", "bpe")


# Tokens for predicting the next word


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Don't, DON’T!", "don't , don't !"),
        ("the dogs' 'quoted' rock'n'roll", "the dogs ' ' quoted ' rock'n'roll"),
        ("a state-of-the-art co-op -- or not", "a state-of-the-art co-op -- or not"),
        ("1,000 or 3.5/10 at 7:30pm, -5", "1,000 or 3.5/10 at 7:30pm , - 5"),
        ("$1,000,000 (50%)", "$ 1,000,000 ( 50 % )"),
        ("a 10.5-inch 2nd 1980's", "a 10.5-inch 2nd 1980's"),
        ("Wait... what?! No--yes", "wait ... what ? ! no -- yes"),
        ("See (http://a.b/c?d=1&e#f).", "see ( http://a.b/c?d=1&e#f ) ."),
        ("www.IMDb.com, a.b-c@d-e.org!", "www.imdb.com , a.b-c@d-e.org !"),
        ("e.g. the U.S. of J. Doe", "e.g. the u.s. of j . doe"),
        ("A.İ. it is", "a.i\u0307. it is"),
        ("the end.The setup.py of sys.path", "the end . the setup.py of sys.path"),
        ("f(x)[0] = __init__", "f ( x ) [ 0 ] = __init__"),
        ("he/she & AT&T <br />", "he / she & at & t < br / >"),
        ("“quoted” «und» …", "“ quoted ” « und » ..."),
        ("很好！great電影", "很 好 ! great 電 影"),
        ("wow😀👍🏽 ★", "wow 😀 👍🏽 ★"),
        ("हिन्दी फ़िल्म।", "हिन्दी फ़िल्म ।"),
        ("a\x00b\u200b \ud800", "a b"),
        (" \n\t", ""),
    ],
)
def test_text_keeps_words_whole_and_every_sign(text, tokens):
    assert tokenize(text, "text") == normalize("NFKC", tokens).split()


def test_cased_text_is_text_with_its_capitals():
    text = "The U.S. of LSTMs: I said É.Then, É. Then www.A.org"
    cased = "The U.S. of LSTMs : I said É.Then , É . Then www.A.org".split()
    assert tokenize(text, "text_cased") == cased
    assert tokenize(text, "text") == [token.lower() for token in cased]


def test_html_is_text_without_tags_and_entities():
    text = "It's <b>so-so</b>,<br /><br />Tom &amp; Jerry: 3 &lt; 4 &hellip; I <3 it"
    tokens = "it's so-so , tom & jerry : 3 < 4 … i < 3 it"
    assert tokenize(text, "html") == normalize("NFKC", tokens).split()


def test_whitespace_changes_nothing():
    text = " = Title = \n<unk> @-@ Don’t\u00a0x "
    assert tokenize(text, "whitespace") == "= Title = <unk> @-@ Don’t x".split()


@pytest.mark.parametrize(
    "text",
    [
        'He said: "no, it\'s (almost) 50% off -- for $5!" Then he left...',
        "Is “this” right? Yes; see [1], www.imdb.com, or ask and/or wait.",
        "The e.g. and the U.S. keep their dots. (This is a sentence.) So is this!",
        "'Titanic' is long. 3 of 10 agree, at 7:30, that it's well-made.",
        "",
    ],
)
def test_joined_tokens_read_as_the_text_did(text):
    assert join_tokens(tokenize(text, "text_cased"), "text_cased") == text
    lower = text.replace("U.S.", "u.s.")  # names are lost
    for tokenizer in ("text", "html"):
        assert join_tokens(tokenize(text, tokenizer), tokenizer) == lower


@pytest.mark.parametrize(
    ("tokens", "tokenizer", "text"),
    [
        (
            "A \" role @-@ play \" ( 1 @,@ 000 or 2 @.@ 5 % ) of <unk> 's , is n't .",
            "whitespace",
            "A \"role-play\" (1,000 or 2.5%) of <unk>'s, isn't.",
        ),
        # Unknown words stand in the text as words do.
        (
            '[UNK] said : " [UNK] , " ( [UNK] ) .',
            "text",
            '[UNK] said: "[UNK]," ([UNK]).',
        ),
        ("it's good", "words", "it's good"),
        ("a .", "keras", "a ."),
    ],
)
def test_tokens_are_joined_as_people_write(tokens, tokenizer, text):
    assert join_tokens(tokens.split(), tokenizer) == text


def test_shuffling_keeps_the_words_of_each_sentence_and_the_place_of_signs():
    text = "One, two three<br />four don't. Five six? (Seven) eight"
    mixed = [
        shuffle_sentences(text, np.random.default_rng(seed)).split()
        for seed in range(9)
    ]
    assert len({*map(tuple, mixed)}) > 1
    for tokens in mixed:
        assert [tokens[i] for i in (1, 6, 9, 10, 12)] == [",", ".", "?", "(", ")"]
        assert {*tokens[:6]} == {"one", ",", "two", "three", "four", "don't"}
        assert {*tokens[7:9]} == {"five", "six"}
        assert {tokens[11], tokens[13]} == {"seven", "eight"}
    assert shuffle_sentences("", np.random.default_rng(0)) == ""
