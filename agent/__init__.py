"""The agent: detects a machine, claims jobs for it and runs them. Imports `shared`, never `hub`."""
