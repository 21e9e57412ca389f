"""Attention over several devices that stand in a ring."""

from keras_attention.functional.ring.attention import attend_in_ring

__all__ = ["attend_in_ring"]
