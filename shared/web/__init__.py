"""HTTP that every service has in common: health, metrics, sign-in, problem documents, the life of a service."""
