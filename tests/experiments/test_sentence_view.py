"""The sentence on the page against its data: as HTML, and in a browser."""

import json
import re

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from experiments.common import render
from experiments.common.result import Section
from experiments.gate_dynamics import sentence_view
from experiments.gate_dynamics.sentence import packed
from lstm_keras.plots.style import POSITIVE
from tests.helpers.browser import browse, in_a_browser

HOSTILE = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a&b"]
GATES = "ifogch"


def sentence(words, layers=2, units=3):
    """Page data of which every number can be told from every other."""
    place, unit = np.mgrid[: len(words), :units]

    def numbers(layer, gate):
        return layer + GATES.index(gate) / 10 + place / 100 + unit / 1000

    return {
        "words": list(words),
        "first": 0,
        "chosen": 0,
        "probabilities": [place / len(words) for place in range(len(words))],
        "methods": {
            "prefix": [0.5 + place for place in range(len(words))],
            "gradient": [-0.25 - place for place in range(len(words))],
        },
        "layers": [
            {
                "name": f"layer_{n}",
                "unit": units - 1,
                "order": list(range(units))[::-1],
                **{gate: packed(numbers(n, gate)) for gate in GATES},
            }
            for n in range(layers)
        ],
    }


def browse_sentence(tmp_path, data, actions, width=1200):
    """`browse` the page of a sentence, with functions for its keys and menus."""
    helpers = """
      const byId = (id) => document.getElementById(id);
      const key = (name) => byId("words").dispatchEvent(
        new KeyboardEvent("keydown", { key: name, bubbles: true }));
      const pick = (id, value) => { byId(id).value = value;
        byId(id).dispatchEvent(new Event("change")); };
      const title = () => byId("detail").querySelector("h3").textContent;
    """
    page = render.page("Test", [Section("Test", [sentence_view.part(data)])])
    return browse(tmp_path, page, helpers + actions, width)


def test_words_and_names_stay_text():
    data = sentence([*HOSTILE, "bell\x07"])
    data["layers"][0]["name"] = HOSTILE[0]
    section = sentence_view.part(data).markup
    assert "<img" not in section
    assert section.count("<script") == section.count("</script>") == 2
    (embedded,) = re.findall(
        r'<script type="application/json" id="sentence-data">(.*?)</script>', section
    )
    found = json.loads(embedded)
    assert found["words"] == [*HOSTILE, "bell\ufffd"]
    assert found["layers"] == data["layers"]
    assert list(found["methods"]) == list(data["methods"])


def test_every_picture_and_control_has_a_name():
    section = sentence_view.part(sentence(["good"])).markup
    for tag in re.findall(r"<(?:svg|canvas)[^>]*>", section):
        assert 'role="img" aria-label=' in tag or 'aria-hidden="true"' in tag
    for identity in re.findall(r'<select id="(\w+)"', section):
        assert re.search(rf'<label[^>]*>[^<]+<select id="{identity}"', section)


@in_a_browser
def test_arrow_keys_and_the_pointer_choose_a_word_and_show_its_numbers(tmp_path):
    actions = """
      const state = () => seen.push([title(),
        document.querySelectorAll("#words [aria-selected=true]").length,
        byId("words").getAttribute("aria-activedescendant"),
        byId("detail").textContent]);
      state(); key("ArrowRight"); state(); key("ArrowLeft"); key("ArrowLeft"); state();
      key("End"); state();
      byId("word-2").dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
      state();
    """
    words = ["[START]", "film", "is", "good"]
    states = browse_sentence(tmp_path, sentence(words), actions)
    places = [0, 1, 0, 3, 2]
    for place, (title, selected, active, _) in zip(places, states, strict=True):
        assert title == f"Word {place} of 3: “{words[place]}”"
        assert selected == 1 and active == f"word-{place}"
    # The probability so far, both contributions, and gates of unit 2.
    for number in ("0.250", "+1.500", "−1.250", "unit 2", "0.012", "0.112", "0.512"):
        assert number in states[1][-1]


@in_a_browser
def test_layer_unit_method_and_quantity_can_be_chosen(tmp_path):
    actions = """
      const heat = byId("heat").getContext("2d");
      const color = () => byId("word-0").style.background;
      seen.push([...heat.getImageData(0, 0, 1, 1).data], color());
      pick("method", "gradient"); seen.push(color());
      pick("layer", "1"); seen.push(byId("detail").textContent);
      pick("unit", "0"); seen.push(byId("detail").textContent);
      pick("unit", "all"); seen.push(byId("detail").textContent);
      seen.push(byId("gates").getAttribute("aria-label"));
      pick("quantity", "f"); seen.push(byId("heat").getAttribute("aria-label"));
      seen.push(byId("heat").height);
      pick("rows", "31"); seen.push(byId("heat").height);
      const box = byId("heat").getBoundingClientRect();
      byId("heat").dispatchEvent(new MouseEvent("click", { bubbles: true,
        clientX: box.left + 0.6 * box.width, clientY: box.top + 0.99 * box.height }));
      seen.push(byId("unit").value, title());
    """
    found = browse_sentence(tmp_path, sentence(["good", "film"], units=31), actions)
    pixel, for_it, against, layer, unit, mean, gates, heat, few, all_, *clicked = found
    assert pixel[3] == pytest.approx(255 * np.tanh(0.430), abs=1)  # c of unit 30
    assert pixel[:3] == pytest.approx([255 * part for part in to_rgb(POSITIVE)], abs=4)
    assert "--positive" in for_it and "--negative" in against
    assert "layer_1, unit 30" in layer and "1.030" in layer
    assert "layer_1, unit 0" in unit and "1.100" in unit
    assert "mean of all units" in mean and "1.115" in mean
    assert "forget gate f 1.115" in gates
    assert "forget gate f" in heat
    assert (few, all_) == (24, 31)
    assert clicked == ["0", "Word 1 of 1: “film”"]  # the order is 30 to 0


@in_a_browser
def test_hostile_words_do_nothing(tmp_path):
    actions = """
      let alerted = 0;
      window.alert = () => alerted++;
      for (const name of ["Home", "ArrowRight", "ArrowRight"]) {
        key(name);
        seen.push(title());
      }
      seen.push(document.querySelectorAll("#sentence img").length, alerted);
    """
    *titles, images, alerted = browse_sentence(tmp_path, sentence(HOSTILE), actions)
    assert [title.split("“")[1][:-1] for title in titles] == HOSTILE
    assert images == alerted == 0


@in_a_browser
@pytest.mark.parametrize("width", [390, 1200])
def test_of_a_long_text_the_columns_scroll_but_not_the_page(tmp_path, width):
    words = [f"word{n}" for n in range(199)] + ["Donaudampfschifffahrt" * 6]
    actions = """
      key("End");
      const [column, frame] = ["cursor", "inside"].map(
        (id) => byId(id).getBoundingClientRect());
      seen.push(document.documentElement.scrollWidth,
        byId("words").clientHeight, frame.right - column.right);
    """
    whole, height, beyond = browse_sentence(
        tmp_path, sentence(words, units=64), actions, width
    )
    assert whole <= width
    assert height < 400
    assert beyond == pytest.approx(0, abs=1)
