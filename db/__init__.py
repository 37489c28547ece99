"""The facts of the desk: cases, opinions, rulings, runs. Imports nothing of the project."""
