"""Crafter: an open world, played by craftax's Craftax-Classic, with options on what was seen."""
