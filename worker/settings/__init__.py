"""The worker's settings: their model, their rules, and the sources they come from.

Only commands and `worker.wiring` import from here. What is configured (kafka, core, attentive, registry, live, ops)
does not know of settings. Settings import the pure rules of what they configure, such as `worker.kafka.properties`.
"""
