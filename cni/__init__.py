"""The pod network as CNI plugins make it: network lists, the plugin protocol, addresses, one nftables table.

`conflist` and `invocation` are pure; `plugins` runs programs, `fake` stands in for them and passes the same
suite. The container runtime calls plugins for pods; this package is what the node itself needs of CNI: the
configuration of its network, a check of the host before a pod needs it, and addresses given back whose pod
is gone. The protocol is CNI 1.1 (containernetworking/cni SPEC.md), down to configurations of 0.3.1.
"""
