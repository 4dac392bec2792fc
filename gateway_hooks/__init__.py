"""Hooks inside the LiteLLM proxy: identity, routing, limits, metering. Fed by the portal through Redis."""
