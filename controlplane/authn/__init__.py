"""Who asks: client certificates, service-account tokens, static tokens, and nobody (anonymous)."""
