"""Published weights in readable models: from a Hugging Face directory, and back to one."""
from .auto import AutoModel, AutoModelForSequenceClassification
from .bert import BertConfig, BertForSequenceClassification, BertModel
from .model import PretrainedModel
from .report import LoadReport
from .tokenizer import AutoTokenizer
