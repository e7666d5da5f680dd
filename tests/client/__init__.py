"""The client `wse_client`: its machine against a model of a server, its shells against the server itself.

`model` is that model, `world` a client and the model with a wire between them that can be cut anywhere,
`oracle` the judge of what an application has read, and `proxy` a TCP proxy that does to a real connection
what networks do.
"""
