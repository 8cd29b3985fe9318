"""Data cards: Markdown files that describe a dataset class."""
