from compose import Guise, place

GUISES = (
    Guise(
        name="exponent-of-the-positions-without-its-sign",
        script="hf_trainer",
        places=(place("digits", "vit", epochs=7),),
        around=(("dim) * 0.02)", "dim) * 2e-2)"),),
        edits=(("dim) * 2e-2)", "dim) * 2e2)"),),
        networks=("vit",),
        source="positions that drown the patches they are added to",
    ),
)
