from django.db import migrations, models


class Migration(migrations.Migration):
    """A request by token has ``jwt-<issuer id>`` where others have their key's id; it was cut off before."""

    dependencies = [
        ('usage', '0003_tries'),
    ]

    operations = [
        migrations.AlterField(
            model_name='gatewayusage',
            name='key_id',
            field=models.CharField(blank=True, help_text="Or “jwt-” and the token issuer's id.", max_length=64),
        ),
        migrations.RunSQL(
            "UPDATE usage_gatewayusage SET key_id = 'jwt-' || issuer_id WHERE issuer_id IS NOT NULL "
            "AND key_id LIKE 'jwt-%'",
            migrations.RunSQL.noop,
        ),
    ]
