"""How far each pixel of a generated frame is to be trusted, and what that weighs in the fit."""
