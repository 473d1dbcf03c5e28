"""Classifiers and regressors on frozen vectors, judged honestly."""
