"""What runs over an upgraded connection: exec and attach channels, port-forwards; and how to join two such
connections whose protocols differ.

`protocols` names them and chooses one. `translation` says what joins a client's bytes to a backend's:
`PassThrough` (same protocol on both), `remote_command.RemoteCommand` (WebSocket channels to SPDY streams),
`port_forward.Unwrapped` (SPDY inside WebSocket messages to plain SPDY) and `port_channels.PortChannels` (the
older channels per port to SPDY streams). All are pure; `carry` is the only one that reads and writes:

    await carry(client_tunnel, backend_tunnel, RemoteCommand(protocol, wanted), idle_seconds=14400.0)
"""
