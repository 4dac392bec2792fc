from django.db import migrations, models


def publish_anew(apps, _schema_editor):
    """What is stored may say less than this release would: deltas must not lead on from there."""
    if apps.get_model("snapshots", "PublishedSnapshot").objects.exists():
        apps.get_model("snapshots", "PendingChange").objects.create(tenant_id=None)


class Migration(migrations.Migration):
    dependencies = [
        ("snapshots", "0002_deltas"),
    ]

    operations = [
        migrations.AddField(
            model_name="publishedsnapshot",
            name="schema_version",
            field=models.PositiveSmallIntegerField(default=0),
        ),
        migrations.RunPython(publish_anew, migrations.RunPython.noop),
    ]
