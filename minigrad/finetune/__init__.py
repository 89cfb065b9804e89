"""Fine-tuning with less: adapters, which train a few numbers beside frozen ones, and prompts, which train none.

Adapters begin with `get_peft_model`, prompts that make a classifier of a language model with `Template`.
"""

from .bitfit import BitFitConfig
from .bottleneck import BottleneckConfig
from .config import PeftConfig
from .ia3 import IA3Config
from .lora import LoraConfig
from .peft_model import PeftModel, get_peft_model
from .probe import LinearProbe
from .prompts import PromptClassifier, PromptForClassification
from .search import TemplateScore, rank_templates
from .templates import Template, expand_templates
from .triggers import TriggerSearch, search_triggers
from .verbalizers import Verbalizer
from .virtual_tokens import PrefixTuningConfig, PromptTuningConfig
