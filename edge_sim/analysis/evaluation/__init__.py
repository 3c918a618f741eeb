"""Evaluation: labelled pictures in, figures out."""
