"""Training: the Trainer, fine-tuning a pretrained model on labelled texts in one call, and using the result."""

from .arguments import TrainingArguments
from .callbacks import EarlyStoppingCallback, JSONLinesCallback, ProgressCallback, TrainerCallback
from .checkpoint import latest_checkpoint
from .classifier import TextClassifier
from .evaluation import EvalPrediction, PredictionOutput
from .finetune import finetune
from .pipeline import Pipeline, pipeline
from .plan import Plan
from .pretrain import pretrain
from .rates import LearningRates
from .search import BestRun
from .state import TrainerControl, TrainerState
from .tensorboard import TensorBoardCallback
from .trackers import StatisticsCallback, WandbCallback
from .trainer import Trainer, TrainOutput
from .verify import verify_resume
