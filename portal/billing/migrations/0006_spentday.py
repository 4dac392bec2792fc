"""A table of what was spent by day, with the sums of the running months."""

from collections import Counter
from datetime import UTC
from zoneinfo import ZoneInfo

from django.db import migrations, models

# Every zone's midnight falls on a quarter of an hour.
QUARTERS = """
SELECT e.tenant_id, e.app_id, e.key_id, t.billing_timezone,
       date_bin('15 minutes', e.ts, '2000-01-01T00:00:00Z'::timestamptz),
       sum(ceil((e.input_amount + e.cached_input_amount + e.output_amount) * 1000000))
FROM billing_ledgerentry e JOIN tenants_tenant t ON t.id = e.tenant_id
WHERE e.rate_id IS NOT NULL
  AND e.ts >= (SELECT max(ts) FROM billing_ledgerentry) - interval '70 days'
GROUP BY 1, 2, 3, 4, 5
"""


def sum_recent(apps, schema_editor):
    """Reads need the running month alone; two are summed."""
    days = Counter()
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(QUARTERS)
        for tenant, app, key, zone, at, micro in cursor:
            day = at.astimezone(UTC).astimezone(ZoneInfo(zone)).date()
            days[tenant, app, key, zone, day] += int(micro)
    names = ("tenant_id", "app_id", "key_id", "zone", "day")
    apps.get_model("billing", "SpentDay").objects.bulk_create(
        (
            apps.get_model("billing", "SpentDay")(micro=micro, **dict(zip(names, key)))
            for key, micro in days.items()
        ),
        batch_size=1000,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_token_issuers"),
        ("tenants", "0003_configurations_stay"),
    ]

    operations = [
        migrations.CreateModel(
            name="SpentDay",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("tenant_id", models.UUIDField()),
                ("app_id", models.UUIDField(null=True)),
                ("key_id", models.CharField(blank=True, max_length=64)),
                ("zone", models.CharField(max_length=60)),
                ("day", models.DateField()),
                ("micro", models.BigIntegerField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=["tenant_id", "app_id", "key_id", "zone", "day"],
                        name="one_sum_per_day_and_scope",
                        nulls_distinct=False,
                    )
                ],
                "indexes": [models.Index(fields=["day"], name="spent_by_day")],
            },
        ),
        migrations.RunPython(sum_recent, migrations.RunPython.noop, elidable=False),
    ]
