"""Every error that ReconX raises on purpose, so that callers can catch one family.

Wording: what failed, with the values; what was expected; what to do. Layer 0:
imports nothing of ours.
"""


class ReconXError(Exception):
    """Base of all deliberate errors; its text is written for the person who uses the pack."""


class InputError(ReconXError, ValueError):
    """A value, file or photo that the caller gave cannot be used."""


class MissingDependency(ReconXError, ImportError):
    """A part needs a package that is not installed; the text ends with the exact pip command."""


class WeightsNotFound(ReconXError, FileNotFoundError):
    """A checkpoint was asked for that lies in none of the model folders."""


class UnsafeCheckpoint(ReconXError):
    """A checkpoint would run code while it loads."""


class AlignmentFailed(ReconXError):
    """The photos could not be brought into one world: too little in common, or no parallax."""


class BackboneMismatch(ReconXError):
    """A video backbone lacks a capability that the request needs."""
