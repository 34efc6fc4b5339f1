"""Circuits of sparse-autoencoder features, walked by keyboard in a terminal."""

__version__ = "0.1.0"
