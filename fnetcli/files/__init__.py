"""Files and folders: guarded reading, durable writing, output folders, scratch files, caches."""
