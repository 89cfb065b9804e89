"""The class for a model directory, chosen by the model_type in its config.json: one line per family and head."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ..nn import init
from .checkpoint.files import read_config
from .config import Config, entries_of
from .model import PretrainedModel
from .values import found_in, shown


class _Auto:
    # model_type -> file.Class; a family's file is imported when it is first needed
    families: dict[str, str]

    @classmethod
    def family(cls, source: str | os.PathLike, config: Config | Mapping[str, Any] | None = None, **hub: Any) -> type:
        """The class for what is at the source, or for a configuration.  Raises as `from_pretrained` does."""
        kind = entries_of(source, config, **hub).get("model_type")
        if kind not in cls.families:
            raise ValueError(
                f"{source}: a model of type {shown(kind)}, which {cls.__name__} does not know: "
                f"choose one of {', '.join(map(repr, cls.families))}"
            )
        file, _, name = cls.families[kind].partition(".")
        return getattr(import_module(f".{file}", __package__), name)


class AutoConfig(_Auto):
    """Configurations: sizes and switches, without weights."""

    families = {
        "bert": "bert.BertConfig",
        "roberta": "roberta.RobertaConfig",
        "xlm-roberta": "xlm_roberta.XLMRobertaConfig",
        "distilbert": "distilbert.DistilBertConfig",
        "t5": "t5.T5Config",
        "gpt2": "gpt2.GPT2Config",
        "llama": "llama.LlamaConfig",
        "qwen2": "qwen2.Qwen2Config",
        "qwen3": "qwen3.Qwen3Config",
        "vit": "vit.ViTConfig",
        "resnet": "resnet.ResNetConfig",
        "vgg": "vgg.VGGConfig",
        "mobilenet_v2": "mobilenet.MobileNetV2Config",
    }

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike, *, revision: str | None = None, local_files_only: bool = False, **changes: Any
    ) -> Config:
        """The configuration in the config.json of a directory, or of a model on the Hub; `changes` win.

        Raises:
            FileNotFoundError: no such directory, or no config.json in it.
            ValueError: the model_type is not one minigrad knows, or an entry makes no sense.
        """
        entries = read_config(source, revision, local_files_only)
        family = cls.family(source, entries)
        with found_in(source):
            return family.from_dict(entries, **changes)


class _AutoModel(_Auto):
    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike,
        *,
        config: Config | Mapping[str, Any] | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **options: Any,
    ) -> PretrainedModel:
        """The model of a Hugging Face directory, file or name; options are those of `PretrainedModel.from_pretrained`.

        Raises:
            FileNotFoundError: no such directory, or something in it is missing.
            ValueError: the model_type is not one minigrad knows, or the files are damaged or do not fit.
        """
        hub = {"revision": revision, "local_files_only": local_files_only}
        return cls.family(source, config, **hub).from_pretrained(source, config=config, **hub, **options)

    @classmethod
    def from_config(cls, config: Config, rng: init.Rng = None) -> PretrainedModel:
        """A new model of the sizes in a configuration, to train from nothing; its weights are drawn from `rng`.

        Raises:
            ValueError: the class has no model for this configuration.
        """
        return cls.family(type(config).__name__, config)(config, rng)


class AutoModel(_AutoModel):
    """Base models: vectors for tokens or pictures, no head."""

    families = {
        "bert": "bert.BertModel",
        "roberta": "roberta.RobertaModel",
        "xlm-roberta": "xlm_roberta.XLMRobertaModel",
        "distilbert": "distilbert.DistilBertModel",
        "t5": "t5.T5Model",
        "gpt2": "gpt2.GPT2Model",
        "llama": "llama.LlamaModel",
        "qwen2": "qwen2.Qwen2Model",
        "qwen3": "qwen3.Qwen3Model",
        "vit": "vit.ViTModel",
        "resnet": "resnet.ResNetModel",
        "vgg": "vgg.VGGModel",
        "mobilenet_v2": "mobilenet.MobileNetV2Model",
    }


class AutoModelForSequenceClassification(_AutoModel):
    """Models that score classes of whole texts."""

    families = {
        "bert": "bert.BertForSequenceClassification",
        "roberta": "roberta.RobertaForSequenceClassification",
        "xlm-roberta": "xlm_roberta.XLMRobertaForSequenceClassification",
        "distilbert": "distilbert.DistilBertForSequenceClassification",
        "gpt2": "gpt2.GPT2ForSequenceClassification",
        "llama": "llama.LlamaForSequenceClassification",
        "qwen2": "qwen2.Qwen2ForSequenceClassification",
        "qwen3": "qwen3.Qwen3ForSequenceClassification",
    }


class AutoModelForTokenClassification(_AutoModel):
    """Models that score classes of each token."""

    families = {
        "bert": "bert.BertForTokenClassification",
        "roberta": "roberta.RobertaForTokenClassification",
        "xlm-roberta": "xlm_roberta.XLMRobertaForTokenClassification",
        "distilbert": "distilbert.DistilBertForTokenClassification",
    }


class AutoModelForQuestionAnswering(_AutoModel):
    """Models that find where in a text the answer stands."""

    families = {
        "bert": "bert.BertForQuestionAnswering",
        "roberta": "roberta.RobertaForQuestionAnswering",
        "xlm-roberta": "xlm_roberta.XLMRobertaForQuestionAnswering",
        "distilbert": "distilbert.DistilBertForQuestionAnswering",
    }


class AutoModelForMaskedLM(_AutoModel):
    """Models that guess masked words."""

    families = {
        "bert": "bert.BertForMaskedLM",
        "roberta": "roberta.RobertaForMaskedLM",
        "xlm-roberta": "xlm_roberta.XLMRobertaForMaskedLM",
        "distilbert": "distilbert.DistilBertForMaskedLM",
    }


class AutoModelForCausalLM(_AutoModel):
    """Models that guess the next token, and so write."""

    families = {
        "gpt2": "gpt2.GPT2LMHeadModel",
        "llama": "llama.LlamaForCausalLM",
        "qwen2": "qwen2.Qwen2ForCausalLM",
        "qwen3": "qwen3.Qwen3ForCausalLM",
    }


class AutoModelForSeq2SeqLM(_AutoModel):
    """Models that read one text and write another."""

    families = {"t5": "t5.T5ForConditionalGeneration"}


class AutoModelForImageClassification(_AutoModel):
    """Models that score classes of pictures."""

    families = {
        "vit": "vit.ViTForImageClassification",
        "resnet": "resnet.ResNetForImageClassification",
        "vgg": "vgg.VGGForImageClassification",
        "mobilenet_v2": "mobilenet.MobileNetV2ForImageClassification",
    }
