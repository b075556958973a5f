"""Pictures from points and from Gaussians."""
