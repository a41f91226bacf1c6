#!/bin/sh
# Prints fresh secrets as NAME=value lines, for `.env` (Compose) or for a Kubernetes Secret. Keep what you use:
# without AFTERCARE_MASTER_KEY nobody can read again what was encrypted under it.
set -eu

# The master key of the field encryption is 96 bytes.
random() { head -c "$1" /dev/urandom | base64 | tr -d '\n'; }

echo "AFTERCARE_TOKEN_SECRET=$(random 48)"
echo "AFTERCARE_MASTER_KEY=$(random 96)"
