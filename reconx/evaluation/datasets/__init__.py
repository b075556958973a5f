"""The datasets on which sparse-view methods are compared, and running them at scale."""
