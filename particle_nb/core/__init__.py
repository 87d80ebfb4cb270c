"""Values and measurements; no torch, no notebook, no browser."""
