"""The learning rate over the steps of a training run."""

import keras


def learning_rate(
    settings, steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate of the settings, for `steps` training steps.

    The cosine falls from `learning_rate` to 0. With `warm_up` the rate first rises from
    0 in that fraction of the steps.
    """
    rate = settings.learning_rate
    if settings.schedule != "cosine":
        return rate
    rising = round(settings.warm_up * steps)
    if not rising:
        return keras.optimizers.schedules.CosineDecay(rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - rising, warmup_target=rate, warmup_steps=rising
    )
