"""One run: its configuration, its folder, and the way from the one to the other."""
