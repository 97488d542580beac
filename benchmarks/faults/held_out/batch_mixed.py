from compose import Guise, place

GUISES = (
    Guise(
        name="attention-along-the-batch",
        script="plain",
        places=(place("digits", "vit", epochs=7),),
        edits=(("batch_first=True, norm_first=True", "norm_first=True"),),
        source="nn.TransformerEncoderLayer takes (sequence, batch, width) unless told otherwise",
    ),
)
