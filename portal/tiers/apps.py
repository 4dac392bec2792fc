from django.apps import AppConfig


class TiersConfig(AppConfig):
    name = "portal.tiers"
    label = "tiers"
