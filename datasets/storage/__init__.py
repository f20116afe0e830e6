"""Files below the datasets: paths, Parquet parts, journals, locks and object stores."""
