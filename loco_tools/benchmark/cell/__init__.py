"""One cell of a benchmark: a method on a class with a seed, and everything that is kept of it."""
