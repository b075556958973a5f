"""Photos to a Scene: cameras, pointmaps and confidence."""
