"""The source of the boards: panels and queries, for every data source from one place."""
