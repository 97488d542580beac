from compose import Guise, place

GUISES = (
    Guise(
        name="alpha-taken-for-grey",
        script="transforms",
        places=(place("digits", "resnet18", epochs=3),),
        around=(
            (
                '        image = self.images[idx].convert("RGB")\n',
                '        image = self.images[idx].convert("LA").split()[0].convert("RGB")\n',
            ),
        ),
        edits=((".split()[0]", ".split()[-1]"),),
        images=("digits", "pbc"),
        source="the last plane of an image read with its transparency",
    ),
)
