"""How good a reconstruction is, on photos it has not seen."""
