"""For every argument of a constructor a value that is not its default."""

import keras

NOT_DEFAULT_OF_CELL = {
    "units": 6,
    "activation": "softsign",
    "recurrent_activation": "hard_sigmoid",
    "use_bias": False,
    "kernel_initializer": keras.initializers.HeNormal(seed=1),
    "recurrent_initializer": keras.initializers.GlorotNormal(seed=2),
    "bias_initializer": keras.initializers.RandomNormal(stddev=0.3, seed=3),
    "unit_forget_bias": False,
    "kernel_regularizer": keras.regularizers.L2(0.1),
    "recurrent_regularizer": keras.regularizers.L1(0.2),
    "bias_regularizer": keras.regularizers.L1L2(0.3, 0.4),
    "kernel_constraint": keras.constraints.MaxNorm(3.0),
    "recurrent_constraint": keras.constraints.UnitNorm(),
    "bias_constraint": keras.constraints.NonNeg(),
    "dropout": 0.25,
    "recurrent_dropout": 0.75,
    "seed": 11,
}
# Those of Keras's layer.
NOT_DEFAULT_OF_LAYER = {
    **NOT_DEFAULT_OF_CELL,
    "activity_regularizer": keras.regularizers.L2(0.5),
    "return_sequences": True,
    "return_state": True,
    "go_backwards": True,
    "stateful": True,
    "unroll": True,
    "use_cudnn": False,
    "zero_output_for_mask": True,
}
