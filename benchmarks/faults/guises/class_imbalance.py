from compose import Guise, place
from edits import BALANCED

GUISES = (
    Guise(
        name="two-classes-30-to-1",
        script="plain",
        places=(
            place("digits_anomaly", "tutorial_cnn", lr=0.0002, epochs=8),
            place("digits_anomaly", "bn_cnn", lr=0.0002, epochs=6),
        ),
        cure=(BALANCED,),
        images=("digits_anomaly",),
        networks=("tutorial_cnn", "bn_cnn"),
        accepts=("undertrained", "learning-rate-too-low"),
        source="abhuse/polyloss-pytorch#5",
    ),
    Guise(
        name="long-tail-plain-loss",
        script="plain",
        places=(
            place("pbc", "vgg", lr=0.0003, epochs=8),
            place("pbc", "tutorial_cnn", lr=0.0005, epochs=8),
            place("digits_rare", "vgg", lr=0.0002, epochs=16),
        ),
        cure=(BALANCED,),
        images=("pbc", "digits_rare"),
        networks=("tutorial_cnn", "vgg"),
        accepts=("undertrained", "learning-rate-too-low"),
    ),
    Guise(
        name="demo-by-the-tutorial",
        script="plain",
        places=(place("demo", "tutorial_cnn", lr=0.001, epochs=10),),
        around=(
            (
                "optim.Adam(model.parameters(), lr=args.lr)",
                "optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)",
            ),
        ),
        accepts=("undertrained", "learning-rate-too-low"),
        drawn=False,
    ),
    Guise(
        name="every-other-class-thinned",
        script="plain",
        places=(place("digits", "tutorial_cnn", lr=0.0003, epochs=9),),
        around=(
            (
                "images, labels = images[order], labels[order]\n",
                "images, labels = images[order], labels[order]\n"
                "collected = (labels % 2 == 0) | (np.arange(len(labels)) % 14 == 0)\n"
                "images, labels = images[collected], labels[collected]\n",
            ),
        ),
        cure=(BALANCED,),
        accepts=("undertrained", "learning-rate-too-low"),
        images=("digits", "trashnet"),
        networks=("tutorial_cnn", "vgg"),
    ),
)
