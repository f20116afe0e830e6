"""What every flow needs: settings, retries, progress, artifacts, and access to the teacher."""
