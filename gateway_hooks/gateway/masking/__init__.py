"""Personal data on its way through the gateway: out of the body before the model, back into its answer after.

What is found and what stands in its place is ``gateway_hooks.pii``'s; here is only where texts are in each
dialect. The mapping lives in a ``Mask`` on the ticket, in memory, until the request ends.
"""
