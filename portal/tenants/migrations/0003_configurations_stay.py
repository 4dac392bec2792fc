"""The database itself keeps published configurations and raises as they were: also against raw SQL."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION tenants_refuse_changed_configuration() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state = 'draft' THEN RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END IF;
  IF TG_OP = 'DELETE' OR NEW.state = 'draft'
     OR (NEW.tenant_id, NEW.number, NEW.content, NEW.note, NEW.restores_id, NEW.published_at)
        IS DISTINCT FROM
        (OLD.tenant_id, OLD.number, OLD.content, OLD.note, OLD.restores_id, OLD.published_at) THEN
    RAISE EXCEPTION 'published configurations never change' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER published_configurations_stay BEFORE UPDATE OR DELETE ON tenants_tenantconfiguration
  FOR EACH ROW EXECUTE FUNCTION tenants_refuse_changed_configuration();

CREATE FUNCTION tenants_refuse_changed_raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' OR OLD.ended_early_at IS DISTINCT FROM NEW.ended_early_at AND OLD.ended_early_at IS NOT NULL
     OR (NEW.tenant_id, NEW."limit", NEW.value, NEW.starts_at, NEW.until, NEW.reason, NEW.created_at)
        IS DISTINCT FROM
        (OLD.tenant_id, OLD."limit", OLD.value, OLD.starts_at, OLD.until, OLD.reason, OLD.created_at) THEN
    RAISE EXCEPTION 'temporary raises are ended, never changed' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER raises_stay BEFORE UPDATE OR DELETE ON tenants_limitraise
  FOR EACH ROW EXECUTE FUNCTION tenants_refuse_changed_raise();
"""

BACKWARD = """
DROP TRIGGER raises_stay ON tenants_limitraise;
DROP TRIGGER published_configurations_stay ON tenants_tenantconfiguration;
DROP FUNCTION tenants_refuse_changed_raise();
DROP FUNCTION tenants_refuse_changed_configuration();
"""


class Migration(migrations.Migration):
    dependencies = [("tenants", "0002_promises")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
