"""From boundaries to files."""
