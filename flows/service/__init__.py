"""Running as a service: deployments, automations and a local Prefect server."""
