"""How good a model is, how sure that is, and whether it may ship. Pure: arrays in, records out."""
