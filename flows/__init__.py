"""Prefect flows, the command line and its configuration: parameters in, dataset ids out."""
