"""Runnable tasks on real or generated data, each a module with a `main`."""
