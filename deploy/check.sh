#!/usr/bin/env bash
# Checks the container files and manifests: lint, render every overlay, validate against the strict schemas.
# What no tool was there to check is said on the last lines; with CI=true it is an error, except for Compose,
# which comes with Docker and not as a package.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
# Keys that are used nowhere else: they only let the manifests render.
AFTERCARE_TOKEN_SECRET=unused AFTERCARE_MASTER_KEY=unused
export AFTERCARE_TOKEN_SECRET AFTERCARE_MASTER_KEY

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unchecked=()
missing=0

has() { command -v "$1" > /dev/null; }

lacks() { # lacks WHAT WAS NOT CHECKED
    unchecked+=("$1")
    missing=1
}

if has yamllint; then
    yamllint --strict --config-file deploy/yamllint.yaml docker-compose.yml deploy
else
    lacks "YAML style (yamllint)"
fi

if has hadolint; then
    hadolint Dockerfile
else
    lacks "Dockerfile (hadolint)"
fi

if has kubectl; then
    render() { kubectl kustomize "$1"; }
elif has kustomize; then
    render() { kustomize build "$1"; }
fi
if declare -F render > /dev/null; then
    # Rendered in a copy, where an overlay gets the secrets that are never committed.
    cp -R deploy/k8s "$work/k8s"
    rendered=()
    for component in "$work"/k8s/components/*/; do # each on the base alone
        folder=$work/k8s/with-$(basename "$component")
        mkdir "$folder"
        printf 'resources: [../base]\ncomponents: [../components/%s]\n' "$(basename "$component")" \
            > "$folder/kustomization.yaml"
    done
    for folder in "$work"/k8s/base "$work"/k8s/with-*/ "$work"/k8s/overlays/*/; do
        case $folder in */overlays/*) deploy/secrets.sh > "$folder/secret.env" ;; esac
        name=$(basename "$folder")
        render "$folder" > "$work/$name.yaml"
        rendered+=("$work/$name.yaml")
        echo "rendered $name: $(grep -c '^kind:' "$work/$name.yaml") objects"
    done
    if has kubernetes-validate; then
        kubernetes-validate --strict --quiet "${rendered[@]}"
        echo "validated against the strict schemas: ${#rendered[@]} renderings"
    else
        lacks "Kubernetes manifests (kubernetes-validate)"
    fi
else
    lacks "Kubernetes manifests (kubectl or kustomize)"
fi

if has docker && docker compose version > /dev/null 2>&1; then
    docker compose --file docker-compose.yml config --quiet
    echo "docker-compose.yml is understood by $(docker compose version)"
else
    unchecked+=("docker-compose.yml by Compose itself (docker compose)")
fi

for what in "${unchecked[@]}"; do
    echo "NOT CHECKED, tool missing: $what" >&2
done
if [ "$missing" = 1 ] && [ "${CI:-}" = true ]; then
    echo "In CI these tools have to be there." >&2
    exit 1
fi
