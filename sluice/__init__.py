"""The command line and the embedded runtime behind `make dev`."""
