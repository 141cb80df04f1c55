"""Who may do what: RBAC, the Node authorizer, the review kinds. Every decision is a function of values."""
