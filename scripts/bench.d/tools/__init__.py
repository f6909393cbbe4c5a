"""The profilers that are measured, each brought to the same shape."""
