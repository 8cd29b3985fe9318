"""A run of a suite: planning, execution in order, estimates, and the table of results."""
