"""Positions: what tells a sequence's entries apart."""
