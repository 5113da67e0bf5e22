from django.db import migrations, models

import markets.fields


class Migration(migrations.Migration):
    """Blocks stand beside the checkpoint, so that markets can find a block by its time. The table stays as it is."""

    dependencies = [
        ("markets", "0004_cheaper_writes"),
        ("indexer", "0004_status_counters"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name="IndexedBlock",
                    fields=[
                        ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                        ("hash", markets.fields.Bytes32Field()),
                        ("parent_hash", markets.fields.Bytes32Field()),
                        ("timestamp", models.DateTimeField()),
                    ],
                    options={
                        "db_table": "indexed_blocks",
                    },
                ),
            ]
        ),
        migrations.AddIndex(
            model_name="indexedblock",
            index=models.Index(fields=["timestamp", "number"], name="indexed_blocks_by_time"),
        ),
        migrations.RemoveIndex(
            model_name="trade",
            name="trades_by_time",
        ),
    ]
