"""The worker's settings: their model, their rules, and the sources they come from.

Other code imports from `worker.settings.load`.
"""
