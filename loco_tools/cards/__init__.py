"""Data cards: Markdown files that describe a dataset class, partly generated from it."""
