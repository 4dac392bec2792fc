"""What a tenant's published configuration does to a request. Pure: no clock, no network, no Django.

The portal validates and compares configurations with it, the gateway applies them.
"""

from gateway_hooks.configuration.apply import Applied, apply, configure
from gateway_hooks.configuration.diff import Change, diff
from gateway_hooks.configuration.validate import ConfigurationError, Problem, validate

__all__ = ["Applied", "Change", "ConfigurationError", "Problem", "apply", "configure", "diff", "validate"]
