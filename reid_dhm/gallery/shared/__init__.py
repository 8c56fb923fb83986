"""A gallery on storage that several machines share: tables of Lance, on a file system or S3."""
