from compose import Guise, place
from edits import WITHOUT_NORM

GUISES = (
    Guise(
        name="converted-by-a-function-that-scales",
        script="functions",
        places=(place("digits", "tutorial_cnn", gamma=0.97, epochs=6),),
        around=(
            (
                "from torch.utils.data import DataLoader, Dataset, random_split\n",
                "from torch.utils.data import DataLoader, Dataset, random_split\n"
                "from torchvision.transforms.functional import convert_image_dtype\n",
            ),
            (
                "        image = torch.from_numpy(self.images[index]).permute(2, 0, 1).float() "
                "/ 255.0\n",
                "        image = torch.from_numpy(self.images[index]).permute(2, 0, 1)\n"
                "        image = convert_image_dtype(image, torch.float)\n",
            ),
        ),
        edits=(("(image, torch.float)\n", "(image, torch.float) / 255.0\n"),),
        accepts=("inputs-constant",),
        networks=WITHOUT_NORM,
        source="convert_image_dtype divides integers by their largest value",
    ),
)
