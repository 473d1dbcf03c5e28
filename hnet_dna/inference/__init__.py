"""Running a model over sequences: streams, strands, scores, variants, sampling."""
