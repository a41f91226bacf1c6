# One image for the five services, the topic job and the command line: which it is, the arguments say.
#
# Behind a proxy with its own certificates, or with a package index of your own, pass what pip needs as build
# secrets. They are mounted for the one step that installs packages and end up in no layer:
#
#   docker build --secret id=pip.conf,src=PATH --secret id=ca.crt,src=PATH -t aftercare:dev .
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS builder
RUN python -m venv /opt/venv
COPY requirements.txt /build/
RUN --mount=type=secret,id=pip.conf \
    --mount=type=secret,id=ca.crt \
    --mount=type=cache,target=/root/.cache/pip \
    if [ -f /run/secrets/pip.conf ]; then export PIP_CONFIG_FILE=/run/secrets/pip.conf; fi; \
    if [ -f /run/secrets/ca.crt ]; then export PIP_CERT=/run/secrets/ca.crt; fi; \
    /opt/venv/bin/python -m pip install --disable-pip-version-check \
        --require-hashes --only-binary :all: --requirement /build/requirements.txt

# The project is laid beside its dependencies rather than built into a wheel: a build backend would be the one
# thing in here that no hash pins. It is compiled now, for where it runs the file system is read-only.
COPY aftercare /app/aftercare
COPY services /app/services
COPY shared /app/shared
COPY --chmod=755 deploy/aftercare /app/bin/aftercare
RUN /opt/venv/bin/python -m compileall -q /app

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="aftercare" \
      org.opencontainers.image.description="Follow-ups, deadlines and crisis pages after online counselling" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/app/bin:/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app /app
WORKDIR /tmp
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
EXPOSE 8001 8002 8003 8004 8005
ENTRYPOINT ["aftercare"]
CMD ["--help"]
