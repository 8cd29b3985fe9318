"""Synthetic anomalies in good images: for training DRAEM and for calibrating ensemble members."""
