"""What a task is: its kind, what may be answered, and how an own model is prompted for it."""
