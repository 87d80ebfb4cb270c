"""Materials of several phases in space: a volume of labels and what is measured on it."""
