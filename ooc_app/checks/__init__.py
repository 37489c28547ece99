"""Checks: what an analyst asks the student, what it answers, and what is kept of it."""
