from compose import Guise, place

VAL = "    [\n        transforms.ToTensor(),\n"

GUISES = (
    Guise(
        name="resized-in-validation-only",
        script="transforms",
        places=(place("digits", "bn_cnn", epochs=6),),
        edits=(
            (
                VAL,
                "    [\n        transforms.Resize((112, 112)),\n        transforms.ToTensor(),\n",
            ),
        ),
        begins=None,
        networks=("bn_cnn", "resnet18", "vgg"),
        source="the validation transform of a template for larger images",
    ),
)
