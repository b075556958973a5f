"""The no-weights engine: structure from motion, PatchMatch stereo, filling."""
