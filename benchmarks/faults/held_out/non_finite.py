from compose import Guise, place

NORMALIZE = "        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),\n"
GAMMA = "        transforms.Lambda(lambda image: image ** (0.7 + 0.6 * torch.rand(1))),\n"
REST = "    ]\n)\nval_transform = "

GUISES = (
    Guise(
        name="gamma-after-the-centring",
        script="transforms",
        places=(place("trashnet", "bn_cnn", epochs=8),),
        edits=((NORMALIZE + REST, NORMALIZE + GAMMA + REST),),
        cure=((NORMALIZE + REST, GAMMA + NORMALIZE + REST),),
        source="a broken power of a negative number",
    ),
)
