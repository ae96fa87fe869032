"""Classify reviews by an exported model, with onnxruntime and NumPy alone.

    python classify.py "I loved every moment." "What a waste of time."

It prints the probability of "positive" of each. The folder that this file is in holds
the model, its vocabulary and its tokenizers.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from lstm_tokenizers import tokenize

START, UNKNOWN, FIRST_WORD = 1, 2, 4  # ids; 0 is padding

folder = Path(__file__).parent
vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
id_of = {word: i for i, word in enumerate(vocabulary["words"], FIRST_WORD)}
session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
maxlen = int(session.get_modelmeta().custom_metadata_map["maxlen"])


def probability(text: str) -> float:
    """Return the probability of "positive"."""
    tokens = tokenize(text, vocabulary["tokenizer"])
    ids = [START, *(id_of.get(token, UNKNOWN) for token in tokens)][-maxlen:]
    padded = np.array([[0] * (maxlen - len(ids)) + ids], np.int32)
    return float(session.run(["probability"], {"ids": padded})[0][0, 0])


if __name__ == "__main__":
    for text in sys.argv[1:]:
        print(f"{probability(text):.4f}  {text}")
