"""Speed of engines, text processing, training and generation."""
