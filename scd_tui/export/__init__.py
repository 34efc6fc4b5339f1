"""Circuits in other forms."""
