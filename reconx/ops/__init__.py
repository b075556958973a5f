"""Pure tensor functions on cameras, points, colours and pictures. No files, no state."""
