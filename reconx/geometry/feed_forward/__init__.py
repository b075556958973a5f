"""Networks of other packages that see all photos at once: one file per model."""
