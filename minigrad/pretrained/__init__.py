"""Published weights in readable models: from a Hugging Face directory, and back to one."""

from importlib import import_module

from .auto import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)
from .checkpoint.report import LoadReport
from .model import PretrainedModel
from .text.streaming import TextStreamer
from .text.tokenizer import AutoTokenizer
from .text.training import train_tokenizer

# the public names of each family's file, which is imported when it is first needed
_FAMILIES = {
    "bert": (
        "BertConfig",
        "BertModel",
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "BertForMaskedLM",
        "BertForQuestionAnswering",
    ),
    "roberta": (
        "RobertaConfig",
        "RobertaModel",
        "RobertaForSequenceClassification",
        "RobertaForTokenClassification",
        "RobertaForMaskedLM",
        "RobertaForQuestionAnswering",
    ),
    "xlm_roberta": (
        "XLMRobertaConfig",
        "XLMRobertaModel",
        "XLMRobertaForSequenceClassification",
        "XLMRobertaForTokenClassification",
        "XLMRobertaForMaskedLM",
        "XLMRobertaForQuestionAnswering",
    ),
    "distilbert": (
        "DistilBertConfig",
        "DistilBertModel",
        "DistilBertForSequenceClassification",
        "DistilBertForTokenClassification",
        "DistilBertForMaskedLM",
        "DistilBertForQuestionAnswering",
    ),
    "t5": ("T5Config", "T5Model", "T5EncoderModel", "T5ForConditionalGeneration"),
    "gpt2": ("GPT2Config", "GPT2Model", "GPT2LMHeadModel", "GPT2ForSequenceClassification"),
    "llama": ("LlamaConfig", "LlamaModel", "LlamaForCausalLM", "LlamaForSequenceClassification"),
    "qwen2": ("Qwen2Config", "Qwen2Model", "Qwen2ForCausalLM", "Qwen2ForSequenceClassification"),
    "qwen3": ("Qwen3Config", "Qwen3Model", "Qwen3ForCausalLM", "Qwen3ForSequenceClassification"),
    "vit": ("ViTConfig", "ViTModel", "ViTForImageClassification", "ViTForMaskedImageModeling"),
    "resnet": ("ResNetConfig", "ResNetModel", "ResNetForImageClassification"),
    "vgg": ("VGGConfig", "VGGModel", "VGGForImageClassification"),
    "mobilenet": ("MobileNetV2Config", "MobileNetV2Model", "MobileNetV2ForImageClassification"),
    "image": ("AutoImageProcessor",),
}
_FILE = {name: file for file, names in _FAMILIES.items() for name in names}


def __getattr__(name: str):
    if name in _FILE:
        return getattr(import_module(f".{_FILE[name]}", __name__), name)
    raise AttributeError(f"module 'minigrad.pretrained' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_FILE])
