"""Files and folders: read guarded, written durably, kept for one run or many."""
