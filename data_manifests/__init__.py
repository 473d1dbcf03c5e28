"""Data that the package carries or knows where to find; read with `importlib.resources`."""
