from compose import Guise, place

VAL = "    [\n        transforms.ToTensor(),\n"

GUISES = (
    Guise(
        name="inverted-in-validation",
        script="transforms",
        places=(place("digits", "vgg", epochs=7),),
        edits=((VAL, VAL.replace("[\n", "[\n        transforms.RandomInvert(p=1.0),\n")),),
        begins=None,
        source="ink on paper against paper on ink",
    ),
    Guise(
        name="another-colour-space-in-validation",
        script="transforms",
        places=(place("pbc", "resnet18", epochs=4),),
        edits=(
            (
                VAL,
                VAL.replace(
                    "[\n", '[\n        transforms.Lambda(lambda image: image.convert("HSV")),\n'
                ),
            ),
        ),
        begins=None,
        images=("trashnet", "pbc"),
        networks=("resnet18", "bn_cnn"),
    ),
)
