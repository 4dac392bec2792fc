"""The database itself keeps the books closed: also against raw SQL, also against our own mistakes.

Triggers on the ledger, the cost lines, the periods and the published prices. Every refusal raises
SQLSTATE 23001 (restrict_violation), which Django shows as an ``IntegrityError``.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION billing_refuse_changed_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'ledger entries are never changed or deleted' USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER ledger_entries_stay BEFORE UPDATE OR DELETE ON billing_ledgerentry
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_changed_entry();

-- FOR SHARE waits for a close that is under way, and makes a close wait for this statement's transaction:
-- nothing can slip into a period between its last sum and its freezing.
CREATE FUNCTION billing_refuse_added_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM billing_billingperiod
    WHERE month IN (SELECT DISTINCT period_id FROM added) FOR SHARE;
  IF EXISTS (SELECT 1 FROM billing_billingperiod
             WHERE state = 'closed' AND month IN (SELECT DISTINCT period_id FROM added)) THEN
    RAISE EXCEPTION 'the billing period is closed' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER ledger_entries_only_in_open_periods AFTER INSERT ON billing_ledgerentry
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_added_rows();
CREATE TRIGGER cost_lines_only_in_open_periods AFTER INSERT ON billing_costline
  REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_added_rows();

CREATE FUNCTION billing_refuse_changed_cost_line() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM 1 FROM billing_billingperiod WHERE month = OLD.period_id FOR SHARE;
  IF EXISTS (SELECT 1 FROM billing_billingperiod WHERE month = OLD.period_id AND state = 'closed') THEN
    RAISE EXCEPTION 'the billing period % is closed', OLD.period_id USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'UPDATE' THEN
    RAISE EXCEPTION 'cost lines are replaced, never changed' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN OLD;
END $$;

CREATE TRIGGER cost_lines_of_closed_periods_stay BEFORE UPDATE OR DELETE ON billing_costline
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_changed_cost_line();

CREATE FUNCTION billing_refuse_changed_period() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.state = 'closed' THEN
    RAISE EXCEPTION 'the billing period % is closed', OLD.month USING ERRCODE = 'restrict_violation';
  END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  IF (NEW.month, NEW.start, NEW."end") IS DISTINCT FROM (OLD.month, OLD.start, OLD."end") THEN
    RAISE EXCEPTION 'a billing period keeps its bounds' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER closed_periods_stay BEFORE UPDATE OR DELETE ON billing_billingperiod
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_changed_period();

CREATE FUNCTION billing_refuse_changed_prices() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'billing_pricebook' THEN
    IF OLD.published_at IS NULL THEN RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END IF;
  ELSIF NOT EXISTS (SELECT 1 FROM billing_pricebook WHERE id = OLD.book_id AND published_at IS NOT NULL) THEN
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
  END IF;
  RAISE EXCEPTION 'published prices never change' USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER published_books_stay BEFORE UPDATE OR DELETE ON billing_pricebook
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_changed_prices();
CREATE TRIGGER published_rates_stay BEFORE UPDATE OR DELETE ON billing_rate
  FOR EACH ROW EXECUTE FUNCTION billing_refuse_changed_prices();
"""

BACKWARD = """
DROP TRIGGER published_rates_stay ON billing_rate;
DROP TRIGGER published_books_stay ON billing_pricebook;
DROP TRIGGER closed_periods_stay ON billing_billingperiod;
DROP TRIGGER cost_lines_of_closed_periods_stay ON billing_costline;
DROP TRIGGER cost_lines_only_in_open_periods ON billing_costline;
DROP TRIGGER ledger_entries_only_in_open_periods ON billing_ledgerentry;
DROP TRIGGER ledger_entries_stay ON billing_ledgerentry;
DROP FUNCTION billing_refuse_changed_prices();
DROP FUNCTION billing_refuse_changed_period();
DROP FUNCTION billing_refuse_changed_cost_line();
DROP FUNCTION billing_refuse_added_rows();
DROP FUNCTION billing_refuse_changed_entry();
"""


class Migration(migrations.Migration):
    dependencies = [("billing", "0001_initial")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
