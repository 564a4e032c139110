"""What UAAFusion shows: weights, attention, stages, classes, memory."""
