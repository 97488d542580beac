from compose import Guise, place
from guises.weights_not_loaded import FINE, IMPORTS, STAGE_WITHIN, earlier_run

MADE = "    model = Net(x_train.shape[1], len(classes), x_train.shape[2])\n"
LAST = '    print("val confusion:", val_confusion.tolist())\n'

GUISES = (
    Guise(
        name="put-into-the-dictionary-not-the-network",
        script="iterations",
        places=(place("digits", "vit", steps=315),),
        around=(
            IMPORTS,
            STAGE_WITHIN,
            earlier_run("args = get_args()", "    "),
            (
                MADE,
                MADE + '    if args.stage == "finetune":\n'
                "        own_state = model.state_dict()\n"
                '        for name, param in torch.load("checkpoint.pt").items():\n'
                "            own_state[name].copy_(param)\n",
            ),
            ("lr=args.lr, weight_decay", f"{FINE}, weight_decay"),
            (
                LAST,
                LAST + '    if args.stage == "pretrain":\n'
                '        torch.save(model.state_dict(), "checkpoint.pt")\n',
            ),
        ),
        edits=(("own_state[name].copy_(param)", "own_state[name] = param"),),
        accepts=("learning-rate-too-low",),
        source="the loop of many forum answers on partial loading, without its copy_",
    ),
)
