"""Types both sides agree on. Standard library and msgspec only."""
