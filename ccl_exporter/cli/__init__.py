"""The commands of the shell, with `cli`: flags in, sentences and exit codes out."""
