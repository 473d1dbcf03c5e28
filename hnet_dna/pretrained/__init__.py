"""Models on disk, in the package, on the hub, and in the form of the reference implementation."""
