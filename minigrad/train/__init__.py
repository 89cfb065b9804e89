"""Training: the loop, fine-tuning a pretrained model on labelled texts in one call, and putting the result to use."""
from .arguments import TrainingArguments
from .classifier import TextClassifier
from .finetune import finetune
from .plan import Plan
from .trainer import Trainer
