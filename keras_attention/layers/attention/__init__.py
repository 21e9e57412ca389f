"""Attention layers, one public class per file."""
