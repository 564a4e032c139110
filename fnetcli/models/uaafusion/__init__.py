"""UAAFusion: configuration, segmentation network, attribution, fusion network, losses, layouts."""
