"""From sequences and sets to a few vectors."""
