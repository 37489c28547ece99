"""Keeping the data folder: backups, restoring them, and saying what is wrong with a folder."""
