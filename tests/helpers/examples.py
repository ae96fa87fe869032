"""How many random examples Hypothesis tries: profiles `quick` and `thorough`."""

import os

from hypothesis import HealthCheck, settings

_OPTIONS = {
    "derandomize": False,  # as Hypothesis would in continuous integration
    "deadline": None,  # the first example imports and compiles
    "print_blob": True,
    "suppress_health_check": list(HealthCheck),
}
settings.register_profile("quick", max_examples=5, **_OPTIONS)
settings.register_profile("thorough", max_examples=100, **_OPTIONS)


def load_profile(name=None):
    """Load the profile of this name, or the one that HYPOTHESIS_PROFILE names."""
    settings.load_profile(name or os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def examples(thorough, quick=5):
    """Let a test try another number of examples in the profile `thorough`."""
    is_thorough = settings.default == settings.get_profile("thorough")
    return settings(max_examples=thorough if is_thorough else quick)
