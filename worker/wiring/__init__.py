"""Builds every part: `parts` has those that several share, and each of the others builds one command's."""
