"""How cases go out: one exporter per format."""
