"""The structure condition: a scene as tokens, and the adapter by which video models read them."""
