# One image for web, indexer, resolver and migrations; the command decides (see Procfile and compose.yaml).
FROM python:3.12-slim AS build
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
# Before the code: a change of the code leaves this layer cached.
COPY requirements*.txt /tmp/
RUN pip install --disable-pip-version-check --requirement /tmp/requirements.txt
# docker build --build-arg EXTRAS="kms sentry otel"
ARG EXTRAS=""
RUN for extra in $EXTRAS; do pip install --disable-pip-version-check --requirement "/tmp/requirements-$extra.txt" || exit; done
COPY . /app
WORKDIR /app
# The settings insist on these three; none of them stays in the image, and no database is touched.
RUN DATABASE_URL=postgresql:///none ALLOWED_HOSTS=none JWT_SECRET="$(python -c 'import secrets; print(secrets.token_hex(32))')" \
    DJANGO_ENV=production python manage.py collectstatic --no-input
# The root may be read-only when it runs.
RUN python -m compileall -q /app

FROM python:3.12-slim
# pg_dump and psql, for `manage.py backup` and `restore`.
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
# NODE_ENV, not DJANGO_ENV, which would beat a NODE_ENV of the deployment.
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp NODE_ENV=production PORT=3001
# No user of this number is needed: nothing but /tmp is written.
USER 10001:10001
EXPOSE 3001
STOPSIGNAL SIGTERM
# Of the web server; compose.yaml gives the other processes their own.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=4)"]
CMD ["python", "manage.py", "serve"]
