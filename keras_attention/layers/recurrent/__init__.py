"""Recurrent cells that attend."""
