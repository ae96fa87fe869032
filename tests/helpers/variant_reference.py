"""The variants of the LSTM in NumPy float64, forward and backward by hand.

One step with what the variants differ in, after Greff et al. 2017 (the gates and their
gradient), Ba et al. 2016, Sak et al. 2014 and Krueger et al. 2017 (in inference).
"""

from typing import NamedTuple

import numpy as np

from lstm_keras.reference import sigmoid

EPSILON = 1e-3


class Variant(NamedTuple):
    """What a variant has."""

    parts: str = "ifgo"  # those of z; gates that are missing are 1
    coupled: bool = False  # i = 1 - f
    peepholes: bool = False
    linear_candidate: bool = False
    linear_output: bool = False
    normalized: bool = False
    projected: bool = False
    zoneout: tuple | None = None  # the rates of h and c

    def step(self, x, states, weights):
        """Return the new states."""
        return self.step_and_back(x, states, weights)[0]

    def step_and_back(self, x, states, weights):
        """Return the new states, what takes their gradients back, and the gates.

        The second is a function of the gradients by the new states, which returns those
        by x, by the states, and by the weights, two of them lists.
        """
        h_before, c_before, *count = states
        kernel, recurrent_kernel, bias, *more = weights
        from_x, from_h = x @ kernel, h_before @ recurrent_kernel
        z = from_x + from_h + bias
        if self.normalized:
            scale_x, scale_h, scale_c, shift_c = more
            from_x, x_back = normalize(from_x)
            from_h, h_back = normalize(from_h)
            z = from_x * scale_x + from_h * scale_h + bias
        z = dict(zip(self.parts, np.split(z, len(self.parts), -1), strict=True))
        peepholes = more[0] if self.peepholes else np.zeros((3, 1))
        ones = np.ones_like(c_before)
        i = sigmoid(z["i"] + peepholes[0] * c_before) if "i" in z else ones
        f = sigmoid(z["f"] + peepholes[1] * c_before) if "f" in z else ones
        g = z["g"] if self.linear_candidate else np.tanh(z["g"])
        if self.coupled:
            i = 1 - f
        c = f * c_before + i * g
        o = sigmoid(z["o"] + peepholes[2] * c) if "o" in z else ones
        shown = c
        if self.normalized:
            normal_c, c_back = normalize(c)
            shown = normal_c * scale_c + shift_c
        shown = shown if self.linear_output else np.tanh(shown)
        cell_output = o * shown
        h = cell_output @ more[0] if self.projected else cell_output
        new = [h, c]
        if self.zoneout:
            old = (h_before, c_before)
            three = zip(self.zoneout, old, new, strict=True)
            new = [rate * a + (1 - rate) * b for rate, a, b in three]

        def back(d_new):
            dh, dc, *d_count = d_new
            dh_before = dc_before = 0.0
            if self.zoneout:
                rate_h, rate_c = self.zoneout
                dh_before, dh = rate_h * dh, (1 - rate_h) * dh
                dc_before, dc = rate_c * dc, (1 - rate_c) * dc
            d_more = []
            if self.projected:
                d_more, dh = [cell_output.T @ dh], dh @ more[0].T
            d_shown = dh * o * (1 if self.linear_output else 1 - shown**2)
            if self.normalized:
                d_more = [(d_shown * normal_c).sum(0), d_shown.sum(0)]
                d_shown = c_back(d_shown * scale_c)
            dc = dc + d_shown
            dz = {"o": dh * shown * o * (1 - o)} if "o" in z else {}
            if self.peepholes:
                dc = dc + dz["o"] * peepholes[2]
            di, df, dg = dc * g, dc * c_before, dc * i
            if self.coupled:
                df = df - di
            dz["i"], dz["f"] = di * i * (1 - i), df * f * (1 - f)
            dz["g"] = dg * (1 if self.linear_candidate else 1 - g**2)
            dc_before = dc_before + dc * f
            if self.peepholes:
                dc_before = dc_before + dz["i"] * peepholes[0] + dz["f"] * peepholes[1]
                pairs = (("i", c_before), ("f", c_before), ("o", c))
                d_more = [np.stack([(dz[gate] * seen).sum(0) for gate, seen in pairs])]
            dz = dz_x = dz_h = np.concatenate([dz[gate] for gate in self.parts], -1)
            if self.normalized:
                of_scales = [(dz * one).sum(0) for one in (from_x, from_h)]
                d_more = of_scales + d_more
                dz_x, dz_h = x_back(dz * scale_x), h_back(dz * scale_h)
            dh_before = dh_before + dz_h @ recurrent_kernel.T
            d_weights = [x.T @ dz_x, h_before.T @ dz_h, dz.sum(0), *d_more]
            return dz_x @ kernel.T, [dh_before, dc_before, *d_count], d_weights

        return [*new, *(np.add(one, [1.0, 0.0]) for one in count)], back, (i, f, g, o)


VARIANTS = {
    "LSTMCell": Variant(),
    "PeepholeLSTMCell": Variant(peepholes=True),
    "CoupledLSTMCell": Variant("fgo", coupled=True),
    "LayerNormLSTMCell": Variant(normalized=True),
    "ProjectedLSTMCell": Variant(projected=True),
    "ZoneoutLSTMCell": Variant(zoneout=(0.3, 0.2)),
    "NoInputGateLSTMCell": Variant("fgo"),
    "NoForgetGateLSTMCell": Variant("igo"),
    "NoOutputGateLSTMCell": Variant("ifg"),
    "NoInputActivationLSTMCell": Variant(linear_candidate=True),
    "NoOutputActivationLSTMCell": Variant(linear_output=True),
}


def normalize(values):
    """Return (v - mean) / sqrt(variance + epsilon), and what takes its gradient back.

    With n the result and s the root, d(v) = (d(n) - mean(d(n)) - n mean(d(n) n)) / s.
    """
    root = np.sqrt(values.var(-1, keepdims=True) + EPSILON)
    normal = (values - values.mean(-1, keepdims=True)) / root

    def back(d):
        means = [one.mean(-1, keepdims=True) for one in (d, d * normal)]
        return (d - means[0] - normal * means[1]) / root

    return normal, back


def run(variant, x, states, weights, mask, by_outputs, by_last):
    """Run over a sequence, and back.

    Args:
        variant: A `Variant`.
        x: `(batch, time, features)`, in the order of processing; so is the rest.
        states: The initial states.
        weights: The cell's weights.
        mask: `(batch, time)`.
        by_outputs: Gradient of a loss by every state h, `(batch, time, size)`.
        by_last: Gradients of the loss by the last states.

    Returns:
        Every h, the last states, and the gradients by x, states and weights.
    """
    every, backs = [], []
    for t in range(x.shape[1]):
        new, back, _ = variant.step_and_back(x[:, t], states, weights)
        on = mask[:, t, np.newaxis]
        states = [np.where(on, *pair) for pair in zip(new, states, strict=True)]
        every.append(states[0])
        backs.append(back)
    dx, d_weights, d = np.zeros(x.shape), [np.zeros(w.shape) for w in weights], by_last
    for t in reversed(range(x.shape[1])):
        on = mask[:, t, np.newaxis]
        d = [d[0] + by_outputs[:, t], *d[1:]]
        dx[:, t], d_before, more = backs[t]([np.where(on, one, 0) for one in d])
        d = [a + np.where(on, 0, b) for a, b in zip(d_before, d, strict=True)]
        d_weights = [a + b for a, b in zip(d_weights, more, strict=True)]
    return np.stack(every, axis=1), states, [dx, d, d_weights]
