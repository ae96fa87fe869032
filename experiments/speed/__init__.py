"""How fast is it? Engines, text processing, learning and generation, timed."""
