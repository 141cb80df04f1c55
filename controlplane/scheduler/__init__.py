"""Assign pods to nodes: pure filters and scores over a copy of the cluster, and one thin loop.

    requests.py   what a pod asks for            affinity.py  terms between pods, topology spread
    cluster.py    nodes with what they carry     scores.py    which of the fitting nodes is best
    filters.py    why a pod may not go there     choose.py    one decision, in the words kubectl users know
    waiting.py    the queue, with back-off       loop.py      watches, binds, writes conditions and events

Nothing but `loop` touches the world, and it reaches the API through `kube.client` alone.
"""
