"""Bodies as bytes: what stands where in them, without reading the rest."""
