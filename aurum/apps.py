from django.apps import AppConfig


class AurumConfig(AppConfig):
    name = "aurum"
