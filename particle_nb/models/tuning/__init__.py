"""Networks on a user's own masks: what is trained on, and how it is trained, judged and kept."""
