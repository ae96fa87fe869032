"""The interactive view of a sentence, word by word."""

from collections.abc import Mapping
from pathlib import Path

import jinja2
from markupsafe import Markup

from experiments.common.result import Html

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
)
# Jinja sorts keys by default, which would change the order of the methods.
_TEMPLATES.policies["json.dumps_kwargs"] = {"separators": (",", ":")}


def part(data: Mapping) -> Html:
    """Return the view of `sentence.Reading.page_data`; a page can contain one."""
    template = _TEMPLATES.get_template("sentence_view.html.jinja")
    return Html(Markup(template.render(data=data)))
