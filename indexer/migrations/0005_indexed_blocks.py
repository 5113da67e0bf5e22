from django.db import migrations


class Migration(migrations.Migration):
    """The model moves to markets."""

    dependencies = [
        ("indexer", "0004_status_counters"),
        ("markets", "0005_indexed_blocks"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel(name="IndexedBlock")]),
    ]
