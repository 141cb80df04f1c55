"""The API server: HTTP requests to Kubernetes objects in the store, and back.

`pipeline` is the way of a request, `requestinfo` reads what it is about, `registry` declares the kinds,
`storage` writes, `watchcache` reads, `handlers` has the verbs and `http` the socket. Objects are plain JSON
values: what the user sent, with defaults, is what is stored.
"""
