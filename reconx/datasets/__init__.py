"""Posed videos and photos as they lie on disk, for whoever scores or trains on them."""
