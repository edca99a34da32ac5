"""Coalesces a Kafka topic of profile changes into few, ordered Attentive custom-attribute upserts."""

__version__ = "0.1.0"
