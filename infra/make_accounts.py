"""Makes the MLflow account that is named, where it is missing: not an administrator's, with JOBS_PASSWORD.

MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, the administrator's, come from the
environment.
"""

from __future__ import annotations

import os
import sys

from mlflow.exceptions import MlflowException
from mlflow.server import get_app_client


def main(name: str) -> None:
    """Make an account, or give one that is there the password of the environment."""
    client = get_app_client("basic-auth", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
    password = os.environ["JOBS_PASSWORD"]
    try:
        client.get_user(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_user(name, password)
    else:
        client.update_user_password(name, password)
    print(f"account {name}: ready")


if __name__ == "__main__":
    main(sys.argv[1])
