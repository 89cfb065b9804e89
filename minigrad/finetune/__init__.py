"""Fine-tuning with less: prompts that make a classifier of a language model."""

from .probe import LinearProbe
from .prompts import PromptClassifier, PromptForClassification
from .search import TemplateScore, rank_templates
from .templates import Template, expand_templates
from .triggers import TriggerSearch, search_triggers
from .verbalizers import Verbalizer
