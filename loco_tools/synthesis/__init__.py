"""Synthetic anomalies: textures, noise, and defects that are drawn into good images."""
