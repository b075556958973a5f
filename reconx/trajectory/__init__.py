"""Camera paths: a trajectory is a `Cameras`."""
