from compose import Guise, place

GUISES = (
    Guise(
        name="functional-call-with-copied-buffers",
        script="iterations",
        places=(place("pbc", "bn_cnn", steps=376),),
        around=(
            (
                "        perm = torch.randperm(len(x))\n",
                "        per_image = 1.0 / y.bincount()[y]\n"
                "        perm = torch.multinomial(per_image, len(x), replacement=True)\n",
            ),
        ),
        edits=(
            (
                "    stream = batches(x_train, y_train, args.batch_size)\n",
                "    stream = batches(x_train, y_train, args.batch_size)\n"
                "    params = dict(model.named_parameters())\n"
                "    buffers = {name: b.clone() for name, b in model.named_buffers()}\n",
            ),
            (
                "        logits = model(x)\n        loss",
                "        logits = torch.func.functional_call(model, (params, buffers), (x,))\n"
                "        loss",
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
        source="facebookresearch/higher#55",
    ),
)
