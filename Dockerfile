# One image for web, indexer and migrations; the command decides (see Procfile and compose.yaml).
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --no-create-home aurum
WORKDIR /app

# Before the code: a change of the code leaves this layer cached.
COPY requirements.txt .
RUN pip install --no-cache-dir --disable-pip-version-check -r requirements.txt

COPY . .
# The settings insist on these three; none of them stays in the image, and no database is touched.
RUN DATABASE_URL=postgresql:///none ALLOWED_HOSTS=none JWT_SECRET="$(python -c 'import secrets; print(secrets.token_hex(32))')" \
    DJANGO_ENV=production python manage.py collectstatic --no-input

# NODE_ENV, not DJANGO_ENV, which would beat a NODE_ENV of the deployment.
ENV NODE_ENV=production PORT=3001
USER aurum
EXPOSE 3001
# Of the web server; compose.yaml gives the indexer its own.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/live', timeout=4)"]
CMD ["python", "manage.py", "serve"]
