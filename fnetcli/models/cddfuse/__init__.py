"""CDDFuse: fusion by base features, which sensors share, and detail features, which they do not."""
