"""What scripts/pythons is made of: where CPython interpreters come from, and how they are kept."""
