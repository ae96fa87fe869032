"""Continue a text by an exported model, with onnxruntime and NumPy alone.

    python continue_text.py "The beginning" 20

It prints the text with 20 more tokens, always the most probable one. The folder that
this file is in holds the model, its vocabulary and its tokenizers.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from lstm_tokenizers import join_tokens, tokenize

START, UNKNOWN, END, FIRST_WORD = 1, 2, 3, 4  # ids; 0 is padding

folder = Path(__file__).parent
vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
words = vocabulary["words"]
id_of = {word: i for i, word in enumerate(words, FIRST_WORD)}
session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
about = session.get_modelmeta().custom_metadata_map
# A model of continuous text has read the end of a line before, and goes on after one.
stream = about["split"] == "stream"
backwards = about["backwards"] == "True"  # it writes what comes before


def step(ids: list[int], states: dict) -> tuple[np.ndarray, dict]:
    """Read ids, and return the logits of the next one and the states after them."""
    logits, *new = session.run(None, {"ids": np.array([ids], np.int32), **states})
    return logits[0], dict(zip(states, new, strict=True))


def continue_text(text: str, count: int) -> str:
    """Return the text with at most `count` more tokens."""
    tokens = tokenize(text, vocabulary["tokenizer"])
    ids = [id_of.get(token, UNKNOWN) for token in tokens]
    new: list[str] = []
    _, *inputs = session.get_inputs()
    states = {one.name: np.zeros((1, one.shape[1]), np.float32) for one in inputs}
    ids = ids[::-1] if backwards else ids
    logits, states = step([END if stream else START, *ids], states)
    while len(new) < count:
        logits[:END] = -np.inf  # no padding, start and unknown word
        chosen = int(logits.argmax())
        if chosen == END and not stream:
            break
        new.append("\n" if chosen == END else words[chosen - FIRST_WORD])
        logits, states = step([chosen], states)
    return f"{joined(new[::-1])} {text}" if backwards else joined(tokens + new)


def joined(tokens: list[str]) -> str:
    """Return tokens as text."""
    lines: list[list[str]] = [[]]
    for token in tokens:
        if token == "\n":
            lines.append([])
        else:
            lines[-1].append(token)
    return "\n".join(join_tokens(line, vocabulary["tokenizer"]) for line in lines)


if __name__ == "__main__":
    print(continue_text(sys.argv[1], int(sys.argv[2])))
