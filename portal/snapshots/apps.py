from django.apps import AppConfig


class SnapshotsConfig(AppConfig):
    name = "portal.snapshots"
    label = "snapshots"
