"""Who may call, for which task and model, and how much."""
