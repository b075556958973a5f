"""Training the structure condition, and models of our own, on posed videos."""
