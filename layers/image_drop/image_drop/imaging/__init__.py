"""Photos: read, checked, converted, put on a canvas, freed of metadata."""
