"""The same model in plain torch, timed beside Keras's."""

import numpy as np
import torch

from experiments.speed.shapes import Shape

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class PlainModel(torch.nn.Module):
    """Embedding -> torch.nn.LSTM -> Linear, with the timed methods of a Keras model.

    Masked sequences are packed, by which torch skips padding.
    """

    def __init__(self, words: int, shape: Shape):
        super().__init__()
        self.masked = shape.masked
        self.embedding = torch.nn.Embedding(words, shape.features)
        self.lstm = torch.nn.LSTM(shape.features, shape.units, batch_first=True)
        self.linear = torch.nn.Linear(shape.units, 1)
        self.to(DEVICE)
        self.loss = torch.nn.BCEWithLogitsLoss()
        self.optimizer = torch.optim.Adam(self.parameters(), eps=1e-7)

    def set_weights(self, weights: list[np.ndarray]) -> None:
        """Copy the weights of a Keras model; torch packs gates in the same order.

        Torch's second bias becomes zero.
        """
        embedding, kernel, recurrent_kernel, bias, dense_kernel, dense_bias = weights
        pairs = (
            (self.embedding.weight, embedding),
            (self.lstm.weight_ih_l0, kernel.T),
            (self.lstm.weight_hh_l0, recurrent_kernel.T),
            (self.lstm.bias_ih_l0, bias),
            (self.lstm.bias_hh_l0, np.zeros_like(bias)),
            (self.linear.weight, dense_kernel.T),
            (self.linear.bias, dense_bias),
        )
        with torch.no_grad():
            for parameter, values in pairs:
                parameter.copy_(torch.tensor(values))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits `(batch, 1)` of ids `(batch, time)`."""
        if not self.masked:
            _, (hidden, _) = self.lstm(self.embedding(ids))
            return self.linear(hidden[0])
        lengths = (ids != 0).sum(1)
        steps = torch.arange(ids.shape[1], device=ids.device)
        to_the_left = (steps - lengths[:, None]) % ids.shape[1]
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            self.embedding(ids.gather(1, to_the_left)),
            lengths.cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        _, (hidden, _) = self.lstm(packed)
        return self.linear(hidden[0])

    def train_on_batch(self, ids: np.ndarray, labels: np.ndarray) -> float:
        """Take a step of Adam; return the loss before it."""
        self.optimizer.zero_grad()
        loss = self.loss(self(_tensor(ids)), _tensor(labels))
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def predict_on_batch(self, ids: np.ndarray) -> np.ndarray:
        """Return the probabilities `(batch, 1)`."""
        with torch.no_grad():
            return torch.sigmoid(self(_tensor(ids))).cpu().numpy()


def flush_denormal() -> None:
    """Let the processor treat denormal numbers as zero, in all threads.

    Threads inherit it from the one that starts them, so call it before any work.

    Raises:
        ValueError: The processor cannot do it.
    """
    if not torch.set_flush_denormal(True):
        raise ValueError(
            "this processor cannot treat denormal numbers as zero; leave out "
            "--flush-denormal"
        )


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(array, device=DEVICE)
