"""One run: its configuration, its folder, its result, and the pipeline."""
