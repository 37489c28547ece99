"""How cases and pictures come in: one importer per data-set format, and the only door for image bytes."""
