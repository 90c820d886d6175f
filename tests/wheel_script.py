"""What somebody writes who has installed the wheel: search, the best, retrain, evaluate. `test_wheel.py` runs it.

Its argument is a JSON object: ``output`` is the run folder, ``lines`` a folder of texts, one split a file; ``digits``
takes images instead, ``both`` has arguments of both loops, ``tokenizer`` cuts the text, ``patience`` stops early,
``resume`` has the phases that go on, and ``kill`` is the phase and the step at which the process dies. The last line
has what was found.
"""

import json
import os
import signal
import sys
from pathlib import Path

from datasets import Dataset, DatasetDict
from transformers import EarlyStoppingCallback, PreTrainedModel, TrainerCallback

import cnas
from cnas import CurriculumTrainer, RetrainArguments, SearchArguments
from cnas.data import TextConfig
from cnas.spaces import EnasRnnSpace, NatsSpace


class Kill(TrainerCallback):
    """Kills the process at the end of a step."""

    def __init__(self, phase, step):
        self.step, self.args = step, {"search": SearchArguments, "retrain": RetrainArguments}[phase]

    def on_step_end(self, args, state, control, **_):
        if isinstance(args, self.args) and state.global_step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def trainer(asked):
    callbacks = [Kill(*asked["kill"])] if "kill" in asked else []
    if "patience" in asked:
        callbacks.append(EarlyStoppingCallback(early_stopping_patience=asked["patience"]))
    both = {"global_batch_size": 32, **asked.get("both", {})}
    sizes = {} if "digits" in asked else {"hidden_size": 32}
    args = SearchArguments(**{"output_dir": asked["output"], "num_train_epochs": 3, "eval_batch_size": 8, **both})
    choices = {
        "args": args,
        "retrain_args": RetrainArguments(**{"num_train_epochs": 1, "model_init_kwargs": sizes, **both}),
    }
    if "digits" in asked:
        return CurriculumTrainer(NatsSpace(channels=4, cells=1), "rsps", **choices, train_dataset="digits")
    splits = {file.stem: file.read_text("utf-8").splitlines() for file in Path(asked["lines"]).iterdir()}
    data = DatasetDict({name: Dataset.from_dict({"text": lines}) for name, lines in splits.items()})
    text = {"data_args": TextConfig(tokenizer=asked["tokenizer"])} if "tokenizer" in asked else {}
    return CurriculumTrainer(
        EnasRnnSpace(hidden_size=32), "rsps", **choices, train_dataset=data, callbacks=callbacks, **text
    )


def main(asked):
    own = trainer(asked)
    resume = asked.get("resume", ())
    result = own.search(resume_from_checkpoint="search" in resume)
    best = result.top(3)
    subnet = own.evaluate()
    model = own.retrain(resume_from_checkpoint="retrain" in resume)
    assert isinstance(model, PreTrainedModel)
    print(
        json.dumps(
            {
                "package": cnas.__file__,
                "version": cnas.__version__,
                "architecture": str(result.architecture),
                "history": [row["epoch"] for row in result.history],
                "top": [each.loss for each in best],
                "subnet": subnet,
                "figures": own.evaluate(),
                "retrained": own.result.retrain.epochs,
            }
        )
    )
    own.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
