"""Photo files to Photos: decoding, orientation, EXIF, masks, one common size."""
