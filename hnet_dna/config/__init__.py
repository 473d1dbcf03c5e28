"""What a model is, as data: layouts, widths and presets."""
