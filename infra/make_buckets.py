"""Makes the buckets that are named, where they are missing. Keys and AWS_ENDPOINT_URL come from the environment."""

from __future__ import annotations

import sys

import boto3


def main(names: list[str]) -> None:
    """Make buckets on whatever S3 store the environment names."""
    client = boto3.client("s3")
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            client.create_bucket(Bucket=name)
        print(f"bucket {name}: {'there' if name in there else 'made'}")


if __name__ == "__main__":
    main(sys.argv[1:])
