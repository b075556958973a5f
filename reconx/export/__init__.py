"""Results to files that other programs open, and back."""
