"""The commands: one module for each; flags in, sentences and exit codes out. Nothing else prints."""
