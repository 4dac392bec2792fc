from django.db import migrations, models


class Migration(migrations.Migration):
    """A request by token has ``jwt-<issuer id>`` where others have their key's id."""

    dependencies = [
        ('billing', '0004_tries'),
    ]

    operations = [
        migrations.AlterField(
            model_name='ledgerentry',
            name='key_id',
            field=models.CharField(blank=True, max_length=64),
        ),
    ]
