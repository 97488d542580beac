from compose import Guise, place

ADAM = "        return torch.optim.Adam(self.parameters(), lr=self.lr)\n"
ADAMW = "        return torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=0.02)\n"
RAMP = (
    "    def {hook}:\n"
    "        for group in self.optimizers().param_groups:\n"
    '            group["weight_decay"] *= 1.04\n\n'
)
CONFIGURE = "    def configure_optimizers(self):\n"

GUISES = (
    Guise(
        name="decay-raised-at-each-batch",
        script="lightning_fit",
        places=(place("trashnet", "tutorial_cnn", epochs=8),),
        around=((ADAM, ADAMW),),
        edits=((CONFIGURE, RAMP.format(hook="on_train_batch_end(self, *args)") + CONFIGURE),),
        cure=((CONFIGURE, RAMP.format(hook="on_train_epoch_end(self)") + CONFIGURE),),
        begins=120,
        images=("trashnet",),
        networks=("tutorial_cnn", "vgg", "mlp"),
        source="a schedule of the decay meant for epochs",
    ),
)
