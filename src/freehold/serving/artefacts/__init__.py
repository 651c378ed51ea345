"""A trained version in the forms that others read, each checked before it is handed over.

What a form holds is written by `tuning` and `serving`; here it is made whole, compared with PyTorch, asked the task's
cases, and given its card. What may never be here: how a model is trained or chosen.
"""
