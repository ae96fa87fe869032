"""The variants of the LSTM in NumPy float64, forward and backward by hand.

One step with what the variants differ in, after Greff et al. 2017 (the gates and their
gradient), Ba et al. 2016, Sak et al. 2014 and Krueger et al. 2017 (in inference), and
an sLSTM after Beck et al. 2024.
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
    gate_recurrence: bool = False

    def step(self, x, states, weights):
        """Return the new states."""
        return self.step_and_back(x, states, weights)[0]

    def step_and_back(self, x, states, weights):
        """Return the new states, what takes their gradients back, and the gates.

        The second is a function of the gradients by the new states, which returns those
        by x, by the states, and by the weights, two of them lists.
        """
        h_before, c_before, *third = states  # a count, or the gates
        kernel, recurrent_kernel, bias, *more = weights
        from_x, from_h = x @ kernel, h_before @ recurrent_kernel
        z = from_x + from_h + bias
        if self.normalized:
            scale_x, scale_h, scale_c, shift_c = more
            from_x, x_back = normalize(from_x)
            from_h, h_back = normalize(from_h)
            z = from_x * scale_x + from_h * scale_h + bias
        z = dict(zip(self.parts, np.split(z, len(self.parts), -1), strict=True))
        if self.gate_recurrence:
            from_gates = np.split(third[0] @ more[0], 3, -1)
            z |= {gate: z[gate] + r for gate, r in zip("ifo", from_gates, strict=True)}
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
            dh, dc, *d_third = d_new
            d_gates = dict.fromkeys("ifo", 0.0)
            if self.gate_recurrence:
                d_gates = dict(zip("ifo", np.split(d_third[0], 3, -1), strict=True))
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
            do = dh * shown + d_gates["o"]
            dz = {"o": do * o * (1 - o)} if "o" in z else {}
            if self.peepholes:
                dc = dc + dz["o"] * peepholes[2]
            di, df = dc * g + d_gates["i"], dc * c_before + d_gates["f"]
            dg = dc * i
            if self.coupled:
                df = df - di
            dz["i"], dz["f"] = di * i * (1 - i), df * f * (1 - f)
            dz["g"] = dg * (1 if self.linear_candidate else 1 - g**2)
            dc_before = dc_before + dc * f
            if self.peepholes:
                dc_before = dc_before + dz["i"] * peepholes[0] + dz["f"] * peepholes[1]
                pairs = (("i", c_before), ("f", c_before), ("o", c))
                d_more = [np.stack([(dz[gate] * seen).sum(0) for gate, seen in pairs])]
            if self.gate_recurrence:
                d_read = np.concatenate([dz[gate] for gate in "ifo"], -1)
                d_third, d_more = [d_read @ more[0].T], [third[0].T @ d_read]
            dz = dz_x = dz_h = np.concatenate([dz[gate] for gate in self.parts], -1)
            if self.normalized:
                of_scales = [(dz * one).sum(0) for one in (from_x, from_h)]
                d_more = of_scales + d_more
                dz_x, dz_h = x_back(dz * scale_x), h_back(dz * scale_h)
            dh_before = dh_before + dz_h @ recurrent_kernel.T
            d_weights = [x.T @ dz_x, h_before.T @ dz_h, dz.sum(0), *d_more]
            return dz_x @ kernel.T, [dh_before, dc_before, *d_third], d_weights

        if self.gate_recurrence:
            new = [*new, np.concatenate([i, f, o], -1)]
        if self.zoneout:
            new = [*new, np.add(third[0], [1.0, 0.0])]
        return new, back, (i, f, g, o)


class SLSTM(NamedTuple):
    """An sLSTM (Beck et al. 2024), with the matrix of the recurrence written out."""

    heads: int
    exponential: bool = False  # the forget gate
    parts: str = "ifgo"

    def step(self, x, states, weights):
        """Return the new states."""
        return self.step_and_back(x, states, weights)[0]

    def step_and_back(self, x, states, weights):
        """Return the new states, what takes their gradients back, and the gates."""
        h_before, c_before, n_before, m_before = states
        kernel, blocks, bias = weights
        z = x @ kernel + h_before @ self.matrix(blocks) + bias
        z_i, z_f, z_g, z_o = np.split(z, 4, -1)
        fresh = n_before == 0
        log_f = z_f if self.exponential else -np.log1p(np.exp(-z_f))
        kept = np.where(fresh, z_i, log_f + m_before)
        m = np.maximum(kept, z_i)
        i, f, g, o = np.exp(z_i - m), np.exp(kept - m), np.tanh(z_g), sigmoid(z_o)
        c, n = f * c_before + i * g, f * n_before + i

        def back(d_new):
            dh, dc, dn, dm = d_new
            do, dc, dn = dh * c / n, dc + dh * o / n, dn - dh * o * c / n**2
            d_kept, d_zi = (dc * c_before + dn * n_before) * f, (dc * g + dn) * i
            dm = dm - d_kept - d_zi  # m is the larger of the two
            d_kept, d_zi = d_kept + dm * (kept >= z_i), d_zi + dm * (kept < z_i)
            d_zi, d_kept = d_zi + d_kept * fresh, d_kept * ~fresh
            d_zf = d_kept * (1 if self.exponential else 1 - sigmoid(z_f))
            dz = [d_zi, d_zf, dc * i * (1 - g**2), do * o * (1 - o)]
            dz = np.concatenate(dz, -1)
            d_matrix = np.where(self.matrix(np.ones(blocks.shape)), h_before.T @ dz, 0)
            d_blocks = sum(np.split(d_matrix, self.heads))
            d_states = [dz @ self.matrix(blocks).T, dc * f, dn * f, d_kept]
            return dz @ kernel.T, d_states, [x.T @ dz, d_blocks, dz.sum(0)]

        return [o * c / n, c, n, m], back, (i, f, g, o)

    def matrix(self, blocks):
        """Return U `(units, 4 * units)`, zero outside of the heads' blocks."""
        size = len(blocks)
        units = size * self.heads
        matrix = np.zeros((units, 4 * units))
        for head in range(self.heads):
            for part in range(4):
                rows = slice(head * size, (head + 1) * size)
                columns = slice(part * units + rows.start, part * units + rows.stop)
                matrix[rows, columns] = blocks[:, columns]
        return matrix


VARIANTS = {
    "LSTMCell": Variant(),
    "PeepholeLSTMCell": Variant(peepholes=True),
    "CoupledLSTMCell": Variant("fgo", coupled=True),
    "LayerNormLSTMCell": Variant(normalized=True),
    "ProjectedLSTMCell": Variant(projected=True),
    "ZoneoutLSTMCell": Variant(zoneout=(0.3, 0.2)),
    "FullGateRecurrenceLSTMCell": Variant(gate_recurrence=True),
    "SLSTMCell": SLSTM(heads=2),
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
