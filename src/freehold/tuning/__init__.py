"""Recipes, base models, the one training loop, adapters, and the local model that answers with them.

Evaluation metrics and HTTP are never here; training and prediction share one tokenisation and one forward pass.
"""
