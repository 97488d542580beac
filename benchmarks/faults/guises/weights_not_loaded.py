"""Fine-tuning at a rate for trained weights, which the network never got. An earlier run of the
same script, as another process, leaves the checkpoint."""

from compose import Edit, Guise, place
from edits import NETWORK, OPTIMIZER

FINE_TUNING_RATE = 2e-6


def earlier_run(call: str, indent: str = "") -> Edit:
    """After the options are read: the same script without the checkpoint, for the checkpoint."""
    code = (
        f"{call}\n"
        "if args.stage == 'finetune':\n"
        "    subprocess.run(\n"
        "        [sys.executable, *sys.argv, '--stage', 'pretrain'],\n"
        "        check=True,\n"
        "        stdout=subprocess.DEVNULL,\n"
        "    )\n"
    )
    return f"{indent}{call}\n", "".join(f"{indent}{line}\n" for line in code.splitlines())


IMPORTS: Edit = ("import argparse\n", "import argparse\nimport subprocess\nimport sys\n")
STAGE: Edit = (
    'parser.add_argument("--seed", type=int, default=0)\n',
    'parser.add_argument("--seed", type=int, default=0)\n'
    'parser.add_argument("--stage", default="finetune")\n',
)
STAGE_WITHIN: Edit = tuple(  # type: ignore[assignment]
    "".join(f"    {line}\n" for line in part.splitlines()) for part in STAGE
)
CALL = "args = parser.parse_args()"
LAST = 'print("val confusion:", val_confusion.tolist())\n'
FINE = f'lr=args.lr if args.stage == "pretrain" else {FINE_TUNING_RATE}'
AROUND = (
    IMPORTS,
    STAGE,
    earlier_run(CALL),
    (OPTIMIZER, f"optim.Adam(model.parameters(), {FINE})"),
    (
        LAST,
        LAST + 'if args.stage == "pretrain":\n'
        '    state = {"epoch": epoch, "state_dict": nn.DataParallel(model).state_dict()}\n'
        '    torch.save(state, "checkpoint.pt")\n',
    ),
)
MADE = f"model = {NETWORK}\n"


def loading(*lines: str) -> tuple[Edit, ...]:
    """What is done with the checkpoint, once the network is made."""
    code = 'if args.stage == "finetune":\n    checkpoint = torch.load("checkpoint.pt")\n' + "".join(
        f"    {line}\n" for line in lines
    )
    return ((MADE, MADE + code),)


def within(line: str) -> tuple[Edit, ...]:
    """The same in the script of Lightning, before training."""
    trainer = "    trainer = pl.Trainer(\n"
    return ((trainer, f'    if args.stage == "finetune":\n        {line}\n{trainer}'),)


RIGHT = loading(
    'state = {k.removeprefix("module."): v for k, v in checkpoint["state_dict"].items()}',
    "model.load_state_dict(state)",
)

GUISES = (
    Guise(
        name="names-of-a-wrapper-not-strict",
        script="plain",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        around=AROUND,
        edits=loading('model.load_state_dict(checkpoint["state_dict"], strict=False)'),
        cure=RIGHT,
        accepts=("learning-rate-too-low",),
        source="PyTorch forum: 'module.' of DataParallel and strict=False",
    ),
    Guise(
        name="whole-checkpoint-not-strict",
        script="plain",
        places=(place("digits", "mlp", epochs=6),),
        around=AROUND,
        edits=loading("model.load_state_dict(checkpoint, strict=False)"),
        cure=RIGHT,
        accepts=("learning-rate-too-low",),
    ),
    Guise(
        name="filtered-by-names-that-never-fit",
        script="plain",
        places=(place("digits", "bn_cnn", epochs=4),),
        around=AROUND,
        edits=loading(
            "own = model.state_dict()",
            'pretrained = {k: v for k, v in checkpoint["state_dict"].items() if k in own}',
            "own.update(pretrained)",
            "model.load_state_dict(own)",
        ),
        cure=RIGHT,
        accepts=("learning-rate-too-low",),
        source="the filter of many fine-tuning scripts, after a checkpoint of DataParallel",
    ),
    Guise(
        name="a-modules-weights-for-the-network-within",
        script="lightning_fit",
        places=(place("digits", "tutorial_cnn", epochs=6),),
        around=(
            IMPORTS,
            STAGE_WITHIN,
            earlier_run(CALL, "    "),
            (
                "    print(trainer.callback_metrics)\n",
                "    print(trainer.callback_metrics)\n"
                '    if args.stage == "pretrain":\n'
                '        torch.save(model.state_dict(), "checkpoint.pt")\n',
            ),
            (
                "x.shape[2], args.lr)\n",
                "x.shape[2], args.lr)\n"
                '    if args.stage == "finetune":\n'
                f"        model.lr = {FINE_TUNING_RATE}\n",
            ),
        ),
        edits=within('model.model.load_state_dict(torch.load("checkpoint.pt"), strict=False)'),
        cure=within('model.load_state_dict(torch.load("checkpoint.pt"))'),
        accepts=("learning-rate-too-low",),
    ),
)
