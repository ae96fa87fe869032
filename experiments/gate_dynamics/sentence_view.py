"""The interactive view of a sentence, word by word."""

from collections.abc import Mapping
from pathlib import Path

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from experiments.common import render
from experiments.common.result import Html
from experiments.common.terminal import printable
from lstm_keras.plots.inside import HEAT_TITLES, QUANTITIES
from lstm_keras.plots.style import GRAY, line_style

# `plots.style.LINE_STYLES` as SVG has them.
DASHES = {"-": "none", "--": "7 3", "-.": "7 3 2 3", ":": "2 3"}

METHODS = {
    "prefix": "prefix: change of the prediction",
    "gradient": "gradient: integrated gradients",
    "decomposition": "decomposition: contextual decomposition",
}


def part(data: Mapping) -> Html:
    """Return the view of `sentence.Reading.page_data`; a page can contain one."""
    templates = render.TEMPLATES.overlay(
        loader=jinja2.FileSystemLoader(Path(__file__).parent)
    )
    data = {**data, "words": [*map(printable, data["words"])], "names": QUANTITIES}
    markup = templates.get_template("sentence_view.html.jinja").render(
        data=data,
        json=htmlsafe_json_dumps(data, separators=(",", ":")),
        methods=METHODS,
        heats=HEAT_TITLES,
        lines=zip(QUANTITIES, map(line_style, range(6)), strict=True),
        dashes=DASHES,
        gate=GRAY,
    )
    return Html(Markup(markup))
