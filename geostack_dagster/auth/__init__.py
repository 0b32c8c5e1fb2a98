"""One module per scheme; a credential is a callable with an expiry; one caching broker."""
