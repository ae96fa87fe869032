"""How much the page takes at a time."""

import gradio

MOST_CHARACTERS = 5_000


def check_length(text: str) -> None:
    """Raise what the page shows as an error if a text is too long."""
    if len(text) > MOST_CHARACTERS:
        raise gradio.Error(
            f"expected at most {MOST_CHARACTERS:,} characters; received {len(text):,}",
            print_exception=False,
        )
