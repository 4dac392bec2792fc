"""The Celery jobs: thin tasks that call portal services. ``celery -A workers worker`` and ``… beat``."""
