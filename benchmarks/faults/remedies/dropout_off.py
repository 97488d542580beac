# No dropout, in attention neither.
import torch

attention, attention_made = (
    torch.nn.functional.scaled_dot_product_attention,
    torch.nn.MultiheadAttention.__init__,
)


def attend(query, key, value, attn_mask=None, dropout_p=0.0, *args, **kwargs):
    return attention(query, key, value, attn_mask, 0.0, *args, **kwargs)


def made_without(self, *args, **kwargs):
    attention_made(self, *args, **kwargs)
    self.dropout = 0.0


torch.nn.functional.dropout = lambda x, *args, **kwargs: x
torch.nn.functional.dropout2d = lambda x, *args, **kwargs: x
torch.dropout = lambda x, *args, **kwargs: x
torch.nn.functional.scaled_dot_product_attention = attend
torch.nn.MultiheadAttention.__init__ = made_without
