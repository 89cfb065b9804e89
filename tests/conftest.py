"""Settings all tests share."""
import os

from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"                           # tests use no network

settings.register_profile("patient", deadline=None)          # how long an example takes says more of the machine than of the code
settings.load_profile("patient")
