"""Parameter-efficient fine-tuning by adapters, which train a few weights, and by prompts, which need train none.

To use adapters, begin with `get_peft_model`; to turn a language model into a classifier by a prompt, with `Template`.
"""

from .bitfit import BitFitConfig
from .bottleneck import BottleneckConfig
from .config import PeftConfig
from .contrastive import SimCSE
from .ia3 import IA3Config
from .lora import LoraConfig
from .peft_model import PeftModel, get_peft_model
from .probe import LinearProbe
from .prompts import PromptClassifier, PromptForClassification
from .search import TemplateScore, rank_templates
from .templates import Template, expand_templates
from .triggers import TriggerSearch, search_triggers
from .unlabelled import Consistency, GroupCollator, WithUnlabelled, most_uncertain, pseudo_labels
from .verbalizers import Verbalizer
from .virtual_tokens import PrefixTuningConfig, PromptTuningConfig
