"""The sentence on the page against its data: as HTML, and in a browser."""

import json
import re

import pytest

from experiments.common import render
from experiments.common.result import Section
from experiments.gate_dynamics import sentence_view
from tests.helpers.browser import browse, in_a_browser

HOSTILE = ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a&b"]
GATES = "ifogch"


def sentence(words, layers=2, units=3):
    """Page data of which every number can be told from every other."""

    def numbers(layer, gate):
        return [
            [
                layer + GATES.index(gate) / 10 + place / 100 + unit / 1000
                for unit in range(units)
            ]
            for place in range(len(words))
        ]

    return {
        "words": list(words),
        "probabilities": [place / len(words) for place in range(len(words))],
        "methods": {
            "prefix": [0.5 + place for place in range(len(words))],
            "gradient": [-0.25 - place for place in range(len(words))],
        },
        "layers": [
            {
                "name": f"layer_{n}",
                "order": list(range(units))[::-1],
                **{gate: numbers(n, gate) for gate in GATES},
            }
            for n in range(layers)
        ],
    }


def browse_sentence(tmp_path, data, actions, *options):
    """`browse` the page of a sentence, with functions for its keys and menus."""
    helpers = """
      const byId = (id) => document.getElementById(id);
      const key = (name) => byId("words").dispatchEvent(
        new KeyboardEvent("keydown", { key: name, bubbles: true }));
      const pick = (id, value) => { byId(id).value = value;
        byId(id).dispatchEvent(new Event("change")); };
    """
    section = Section("Test", [sentence_view.part(data)])
    page = render.page("Test", [section], tmp_path)
    return browse(tmp_path, page, helpers + actions, *options)


def test_words_and_names_stay_text():
    data = sentence(HOSTILE)
    data["layers"][0]["name"] = HOSTILE[0]
    section = sentence_view.part(data).markup
    assert "<img" not in section
    assert section.count("<script") == section.count("</script>") == 2
    (embedded,) = re.findall(
        r'<script type="application/json" id="sentence-data">(.*?)</script>', section
    )
    assert json.loads(embedded) == data
    assert list(json.loads(embedded)["methods"]) == list(data["methods"])


def test_nothing_is_loaded_from_outside():
    section = sentence_view.part(sentence(["good"])).markup
    outside = re.findall(
        r"(?:src|href)=|url\(|@import|fetch\(|https?://[^\"]*", section
    )
    assert outside == ["http://www.w3.org/2000/svg"]  # the name of a vocabulary


def test_every_picture_and_control_has_a_name():
    section = sentence_view.part(sentence(["good"])).markup
    for tag in re.findall(r"<(?:svg|canvas)[^>]*>", section):
        assert 'role="img"' in tag and "aria-label=" in tag
    for identity in re.findall(r'<select id="(\w+)"', section):
        assert re.search(rf'<label>[^<]+<select id="{identity}"', section)


@in_a_browser
def test_arrow_keys_choose_a_word_and_show_its_numbers(tmp_path):
    actions = """
      const state = () => seen.push([
        document.querySelector("#words [aria-selected=true]").textContent,
        byId("words").getAttribute("aria-activedescendant"),
        byId("detail").textContent]);
      state(); key("Home"); state(); key("ArrowRight"); state();
      key("ArrowLeft"); key("ArrowLeft"); state(); key("End"); state();
    """
    last, first, second, again, end = browse_sentence(
        tmp_path, sentence(["the", "film", "is", "good"]), actions
    )
    assert [state[0] for state in (last, first, second, again, end)] == [
        "good",
        "the",
        "film",
        "the",
        "good",
    ]
    assert second[1] == "word-1"
    # The probability so far, both contributions, and gates of unit 2, which moves most.
    for number in ("0.250", "+1.500", "−1.250", "unit 2", "0.012", "0.112", "0.512"):
        assert number in second[2]


@in_a_browser
def test_the_pointer_chooses_a_word(tmp_path):
    actions = """
      byId("word-1").dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
      seen.push(byId("detail").querySelector("h3").textContent);
    """
    (title,) = browse_sentence(tmp_path, sentence(["the", "film", "is"]), actions)
    assert title == "Word 2 of 3: “film”"


@in_a_browser
def test_layer_unit_and_method_can_be_chosen(tmp_path):
    actions = """
      const color = () => byId("word-0").style.background;
      seen.push(color()); pick("method", "gradient"); seen.push(color());
      key("Home");
      pick("layer", "1"); seen.push(byId("detail").textContent);
      pick("unit", "0"); seen.push(byId("detail").textContent);
      pick("unit", "all"); seen.push(byId("detail").textContent);
      pick("quantity", "f"); seen.push(byId("heat").getAttribute("aria-label"));
      seen.push(byId("chart").getAttribute("aria-label"));
    """
    found = browse_sentence(tmp_path, sentence(["good", "film"]), actions)
    for_it, against, layer, unit, mean, heat, chart = found
    assert "--blue" in for_it and "--orange" in against
    assert "layer_1, unit 2" in layer and "1.002" in layer
    assert "layer_1, unit 0" in unit and "1.100" in unit
    assert "mean of all units" in mean and "1.101" in mean
    assert "forget gate f" in heat
    assert "forget gate f 1.101" in chart


@in_a_browser
def test_a_click_on_the_heat_map_chooses_unit_and_word(tmp_path):
    actions = """
      const box = byId("heat").getBoundingClientRect();
      byId("heat").dispatchEvent(new MouseEvent("click", { bubbles: true,
        clientX: box.left + 0.6 * box.width, clientY: box.top + 0.9 * box.height }));
      seen.push(byId("unit").value, byId("detail").querySelector("h3").textContent);
    """
    unit, title = browse_sentence(tmp_path, sentence(["the", "film"]), actions)
    assert unit == "0"  # the order is 2, 1, 0
    assert title == "Word 2 of 2: “film”"


@in_a_browser
def test_hostile_words_do_nothing(tmp_path):
    actions = """
      let alerted = 0;
      window.alert = () => alerted++;
      for (const name of ["Home", "ArrowRight", "ArrowRight"]) {
        key(name);
        seen.push(byId("detail").querySelector("h3").textContent);
      }
      seen.push(document.querySelectorAll("#sentence img").length, alerted);
    """
    *titles, images, alerted = browse_sentence(tmp_path, sentence(HOSTILE), actions)
    assert [title.split("“")[1][:-1] for title in titles] == HOSTILE
    assert images == alerted == 0


@in_a_browser
@pytest.mark.parametrize("width", [360, 1200])
def test_a_long_text_needs_no_sideways_scrolling(tmp_path, width):
    # Chromium's window is never so narrow as a phone: the page is made narrow instead.
    words = [f"word{n}" for n in range(199)] + ["Donaudampfschifffahrt" * 6]
    data = sentence(words, units=64)
    data["methods"]["decomposition"] = data["methods"]["prefix"]
    actions = f"""
      document.body.style.boxSizing = "border-box";
      document.body.style.width = "{width}px";
      document.body.style.margin = "0";
      seen.push(document.body.scrollWidth);
      seen.push(byId("words").getBoundingClientRect().height);
    """
    whole, height = browse_sentence(tmp_path, data, actions, "--window-size=1300,900")
    assert whole <= width
    assert height < 400
