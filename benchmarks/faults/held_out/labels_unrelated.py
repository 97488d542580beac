from compose import Guise, place

STREAM = "    stream = batches(x_train, y_train, args.batch_size)\n"
NEXT = "        x, y = next(stream)\n"

GUISES = (
    Guise(
        name="images-fetched-a-batch-ahead",
        script="iterations",
        places=(place("digits", "mlp", steps=270),),
        around=((STREAM, STREAM + "    next_x, next_y = next(stream)\n"),),
        edits=((NEXT, "        x = next_x\n        next_x, y = next(stream)\n"),),
        cure=((NEXT, "        x, y = next_x, next_y\n        next_x, next_y = next(stream)\n"),),
        source="a prefetcher that hands out this batch's images with the next one's labels",
    ),
)
