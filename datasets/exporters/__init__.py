"""Episodes with advice for other programs: Minari datasets, and Parquet with a data card."""
