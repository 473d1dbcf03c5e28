"""Letters and coordinates: no files, no tensors."""
