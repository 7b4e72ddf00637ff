"""Code of the driver and of Spark's tasks; the only place that imports pyspark."""
