"""API objects that pods read: ConfigMaps, Secrets and Services, kept at hand while a pod wants them."""
