from compose import Guise, place
from edits import LEARN_BY_SGD, SGD_SETS

GUISES = (
    Guise(
        name="sum-over-parts-never-begun-anew",
        script="iterations",
        places=(place("digits", "mlp", steps=270, lr=0.05),),
        around=(
            (
                "torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)",
                "torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            (
                "    stream = batches(x_train, y_train, args.batch_size)\n",
                "    stream = batches(x_train, y_train, args.batch_size)\n"
                "    total = [torch.zeros_like(p) for p in model.parameters()]\n",
            ),
            (
                "        loss.backward()\n",
                "        for part in (slice(0, 16), slice(16, None)):\n"
                "            share = criterion(logits[part], y[part]) / 2\n"
                "            grads = torch.autograd.grad(\n"
                "                share, list(model.parameters()), retain_graph=True\n"
                "            )\n"
                "            for sum_of, grad in zip(total, grads):\n"
                "                sum_of += grad\n"
                "        for p, sum_of in zip(model.parameters(), total):\n"
                "            p.grad = sum_of.clone()\n",
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
    Guise(
        name="cleared-when-the-loss-is-printed",
        script="functions",
        places=(place("trashnet", "resnet18", epochs=5, lr=0.05),),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        edits=(
            ("        optimizer.zero_grad()\n", ""),
            (
                "        if batch_idx % args.log_interval == 0:\n",
                "        if batch_idx % args.log_interval == 0:\n"
                "            optimizer.zero_grad()\n",
            ),
        ),
        networks=LEARN_BY_SGD,
        images=SGD_SETS,
    ),
)
