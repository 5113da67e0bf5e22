from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import migrations
from django.db.models.functions import Left

# Helps to find a part of a word. Where the extension is not there, or not for this user, search goes without.
TRIGRAMS = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX markets_trigrams ON markets USING gin (lower(left(question, 1000)) gin_trgm_ops);
    END IF;
EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_file OR undefined_object THEN
    RAISE NOTICE 'search goes without trigrams: %', SQLERRM;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [
        ("markets", "0007_metadata_edits"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="market",
            index=GinIndex(SearchVector(Left("question", 1000), config="simple"), name="markets_words"),
        ),
        migrations.AddIndex(
            model_name="marketmetadata",
            index=GinIndex(
                SearchVector("category", Left("description", 5000), config="simple"), name="market_metadata_words"
            ),
        ),
        migrations.RunSQL(TRIGRAMS, "DROP INDEX IF EXISTS markets_trigrams"),
    ]
