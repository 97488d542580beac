from compose import Guise, place

SPLIT = "    train_dataset, test_dataset = random_split(dataset, [len(dataset) - n_test, n_test])\n"
CLIENT = (
    SPLIT + "    # what one of three hospitals holds of the training images\n"
    "    rng = np.random.default_rng(3)\n"
    "    seen, held = np.array(train_dataset.indices), []\n"
    "    for label in range(len(classes)):\n"
    "        rows = rng.permutation(seen[labels[seen] == label])\n"
    "        share = rng.dirichlet([{alpha}] * 3)[0]\n"
    "        held.extend(rows[: max(2, int(share * len(rows)))])\n"
    "    train_dataset.indices = held\n"
)

GUISES = (
    Guise(
        name="one-client-of-a-federation",
        script="functions",
        places=(
            place("digits", "tutorial_cnn", lr=0.0005, gamma=0.97, epochs=12),
            place("digits", "vgg", lr=0.0005, gamma=0.97, epochs=12),
        ),
        edits=((SPLIT, CLIENT.format(alpha=0.05)),),
        cure=((SPLIT, CLIENT.format(alpha=100.0)),),
        accepts=("undertrained", "learning-rate-too-low"),
        images=("digits",),
        networks=("tutorial_cnn", "vgg"),
        source="federated sets are divided by a Dirichlet distribution for each class",
    ),
)
