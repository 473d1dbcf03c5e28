"""Training all of a model, or parts of it, on labelled sequences."""
