"""torcheck: what must hold is declared before training, and a violation is raised during it.

    torcheck.register(optimizer)
    torcheck.add_module_changing_check(model, module_name="model")
    torcheck.add_module_output_range_check(
        model, output_range=(0, 1), negate_range=True, module_name="model"
    )
    torcheck.add_module_nan_check(model, module_name="model")
    torcheck.add_module_inf_check(model, module_name="model")

The third is its manual's check that no softmax has been applied; a user with one output unit does
not declare it, for a sigmoid there may be right. Whoever froze parameters on purpose left them out
of the optimizer too, and does not declare that they change: then the checks of parameters are
declared one by one. So they are where the network returns a dictionary (Hugging Face), for its
checks of outputs take tensors alone. The first violation ends the run, as it would end a user's.
"""

from __future__ import annotations

from torch import nn

from peers.adapters.base import Adapter as Base
from peers.adapters.base import Moment, output_width

RAISED = (
    "errors are detected while training",
    "belong to any optimizer",
    "'s output shouldn't all",
    "'s output contains",
)


class Adapter(Base):
    """The declarations, at the first batch."""

    def __init__(self) -> None:
        super().__init__()
        import torcheck

        self.torcheck = torcheck

    def batch(self, moment: Moment) -> None:
        if moment.step > 0:
            return
        check, model = self.torcheck, moment.model
        check.register(moment.optimizer)
        assert moment.optimizer is not None
        known = {id(p) for group in moment.optimizer.param_groups for p in group["params"]}
        frozen = any(not p.requires_grad and id(p) not in known for p in model.parameters())
        returns_tensor = moment.kind != "huggingface"
        if frozen or not returns_tensor:
            self._declare_trained(model)
        else:
            check.add_module_changing_check(model, module_name="model")
            check.add_module_nan_check(model, module_name="model")
            check.add_module_inf_check(model, module_name="model")
        if returns_tensor and output_width(model) != 1:
            check.add_module_output_range_check(
                model, output_range=(0, 1), negate_range=True, module_name="model"
            )

    def _declare_trained(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.torcheck.add_tensor(
                    parameter,
                    tensor_name=name,
                    module_name="model",
                    changing=True,
                    check_nan=True,
                    check_inf=True,
                )

    def stopped(self, error: BaseException) -> bool:
        told = isinstance(error, RuntimeError) and any(part in str(error) for part in RAISED)
        if told:
            self.say("check", "error", str(error))
        return told
