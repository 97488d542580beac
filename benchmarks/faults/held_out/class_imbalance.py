from compose import Guise, place
from edits import BALANCED

GUISES = (
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
