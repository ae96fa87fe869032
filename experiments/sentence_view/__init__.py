"""The part of a page in which a reader moves over a sentence word by word."""

import html
import json
from collections.abc import Mapping
from pathlib import Path

_FOLDER = Path(__file__).parent

_METHODS = {
    "prefix": "prefix: change of the prediction",
    "gradient": "gradient: integrated gradients",
    "decomposition": "decomposition: contextual decomposition",
}

_SECTION = """\
<section id="sentence" aria-label="The sentence, word by word">
<style>
{css}</style>
<p class="interactive">Move over a word, or choose one with the arrow keys. Blue words
speak for “positive”, orange ones against it.</p>
<noscript><p class="note">Without JavaScript the words show only their numbers when you
rest on them; the figures below show the rest.</p></noscript>
<div class="controls">
<label>Contributions <select id="method">{methods}</select></label>
<label>Layer <select id="layer">{layers}</select></label>
<label>Unit <select id="unit"></select></label>
</div>
<div id="words" role="listbox" tabindex="0" aria-label="Words of the text" dir="auto">
{words}
</div>
<div id="detail" role="status" aria-live="polite"></div>
<svg id="chart" role="img" aria-label="Gates and states by word"></svg>
<ul id="legend"></ul>
<p class="interactive"><label>Heat map of all units
<select id="quantity">{quantities}</select></label></p>
<div id="heat-frame"><div id="heat-cursor"></div>
<canvas id="heat" role="img" aria-label="Heat map of all units"></canvas></div>
<p class="interactive" id="heat-caption"></p>
<script type="application/json" id="sentence-data">{data}</script>
<script>
{script}</script>
</section>"""

_QUANTITIES = {
    "c": "cell state c",
    "h": "hidden state h",
    "f": "forget gate f",
    "i": "input gate i",
    "o": "output gate o",
    "g": "candidate g",
}


def section(data: Mapping) -> str:
    """Return the section as HTML that loads nothing; a page can hold one.

    Args:
        data: What `gate_sentence.page_data` returns.
    """
    return _SECTION.format(
        css=(_FOLDER / "view.css").read_text(encoding="utf-8"),
        script=(_FOLDER / "view.js").read_text(encoding="utf-8"),
        methods=_options({name: _METHODS[name] for name in data["methods"]}),
        layers=_options(
            {str(n): layer["name"] for n, layer in enumerate(data["layers"])}
        ),
        quantities=_options(_QUANTITIES),
        words=" ".join(map(_word, range(len(data["words"])), *_columns(data))),
        # Nothing in it can end the script element.
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),
    )


def _columns(data: Mapping) -> tuple:
    return data["words"], data["probabilities"]


def _word(place: int, word: str, probability: float) -> str:
    return (
        f'<span role="option" id="word-{place}" aria-selected="false" '
        f'title="positive so far: {probability:.3f}">{html.escape(word)}</span>'
    )


def _options(names: Mapping[str, str]) -> str:
    return "".join(
        f'<option value="{html.escape(value)}">{html.escape(name)}</option>'
        for value, name in names.items()
    )
