"""What the cells of a run say together: comparisons, significance, errors, published figures."""
