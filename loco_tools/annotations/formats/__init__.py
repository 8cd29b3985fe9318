"""Annotation formats: from the files that annotation tools export to regions and masks."""
