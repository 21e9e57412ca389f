"""attend() by a GPU library, in one call that builds no score matrix."""
