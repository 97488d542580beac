from compose import Guise, place
from edits import LOADER, SGD

LISTED = (
    "# the listing goes through one folder after the other\n"
    'rows = np.argsort(labels[:n_train], kind="stable")\n'
)
GROUPS = "groups = [rows[i : i + args.batch_size] for i in range(0, n_train, args.batch_size)]\n"
LOADED = "train_loader = DataLoader(train_set, batch_sampler=groups)\n"

GUISES = (
    Guise(
        name="batches-shuffled-instead-of-images",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.05, epochs=6),),
        around=(SGD,),
        edits=(
            (
                LOADER,
                LISTED + GROUPS + "groups = [groups[i] for i in "
                "np.random.permutation(len(groups))]\n" + LOADED,
            ),
        ),
        cure=((LOADER, LISTED + "np.random.shuffle(rows)\n" + GROUPS + LOADED),),
        networks=("tutorial_cnn", "mlp"),
        images=("digits", "trashnet"),
        source="the list of batches is shuffled, each of which holds one class",
    ),
)
