"""The part of a page in which a reader moves over a sentence word by word."""

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
# Without Jinja's own sorting, which would change the order of the methods.
_TEMPLATES.policies["json.dumps_kwargs"] = {"separators": (",", ":")}


def part(data: Mapping) -> Html:
    """Return the part, which loads nothing; a page can contain one.

    Args:
        data: What `sentence.Reading.page_data` returns.
    """
    template = _TEMPLATES.get_template("sentence_view.html.jinja")
    return Html(Markup(template.render(data=data)))
