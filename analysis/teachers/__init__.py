"""How good a stored teacher is: calibration, option values, diagnostics and their report."""
