"""Qwen3 in plain PyTorch, for packed documents, and the weights that it starts from."""

import math

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = dict(  # the form of Qwen3-0.6B's own config.json
    architectures=["Qwen3ForCausalLM"],
    attention_bias=False,
    attention_dropout=0.0,
    bos_token_id=None,
    eos_token_id=None,
    head_dim=128,
    hidden_act="silu",
    hidden_size=256,
    initializer_range=0.02,
    intermediate_size=768,
    max_position_embeddings=4096,
    max_window_layers=4,
    model_type="qwen3",
    num_attention_heads=4,
    num_hidden_layers=4,
    num_key_value_heads=2,
    rms_norm_eps=1e-6,
    rope_scaling=None,
    rope_theta=1000000,
    sliding_window=None,
    tie_word_embeddings=True,
    torch_dtype="bfloat16",
    transformers_version="4.51.0",
    use_cache=True,
    use_sliding_window=False,
    vocab_size=2048,
)


class Norm(nn.Module):
    def __init__(self, n, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(n)), eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


ROWS = 256  # queries at a time


def attend(q, k, v):
    """Causal attention of a document's last rows: q [heads, m, d], scaled; k, v [kv heads, n, d].

    On a CPU plain products take a third of the time of PyTorch's fused attention at these lengths.
    """
    (h, m, d), (g, n, _) = q.shape, k.shape
    scores = torch.bmm(q.reshape(g, h // g * m, d), k.transpose(1, 2)).view(h, m, n)
    scores[:, :, n - m :] += torch.full(
        (m, m), float("-inf"), dtype=scores.dtype, device=scores.device
    ).triu(1)
    return torch.bmm(torch._softmax(scores, -1, False).view(g, h // g * m, n), v).view(h, m, d)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.h, self.kv, self.d = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        self.q_proj = nn.Linear(c["hidden_size"], self.h * self.d, bias=False)
        self.k_proj = nn.Linear(c["hidden_size"], self.kv * self.d, bias=False)
        self.v_proj = nn.Linear(c["hidden_size"], self.kv * self.d, bias=False)
        self.o_proj = nn.Linear(self.h * self.d, c["hidden_size"], bias=False)
        self.q_norm, self.k_norm = Norm(self.d, c["rms_norm_eps"]), Norm(self.d, c["rms_norm_eps"])

    def forward(self, x, cos, sin, spans):
        n = x.shape[0]
        q = rope(self.q_norm(self.q_proj(x).view(n, self.h, self.d)), cos, sin)
        k = rope(self.k_norm(self.k_proj(x).view(n, self.kv, self.d)), cos, sin)
        v = self.v_proj(x).view(n, self.kv, self.d)
        q = q * self.d**-0.5
        out = []
        for qs, ks, vs in zip(*(t.transpose(0, 1).split(spans, 1) for t in (q, k, v))):
            out += [
                attend(qs[:, i : i + ROWS], ks[:, : i + ROWS], vs[:, : i + ROWS])
                for i in range(0, qs.shape[1], ROWS)
            ]
        return self.o_proj(torch.cat(out, 1).transpose(0, 1).reshape(n, -1))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.up_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.down_proj = nn.Linear(c["intermediate_size"], c["hidden_size"], bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn, self.mlp = Attention(c), MLP(c)
        self.input_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])
        self.post_attention_layernorm = Norm(c["hidden_size"], c["rms_norm_eps"])

    def forward(self, x, cos, sin, spans):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, spans)
        return x + self.mlp(self.post_attention_layernorm(x))


class Body(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = Norm(c["hidden_size"], c["rms_norm_eps"])


class Qwen3(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.model, self.c = Body(c), c
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=0.06 if "embed" in name else 0.5 / math.sqrt(p.shape[1]))
                if "o_proj" in name or "down_proj" in name:
                    p.data /= 1.5 * math.sqrt(2 * c["num_hidden_layers"])
        freq = c["rope_theta"] ** (-torch.arange(0, c["head_dim"], 2) / c["head_dim"])
        angle = torch.outer(torch.arange(c["max_position_embeddings"]), freq).repeat(1, 2)
        self.register_buffer("cos", angle.cos()[:, None], persistent=False)
        self.register_buffer("sin", angle.sin()[:, None], persistent=False)

    def forward(self, ids, spans, where):
        """Logits at the flat positions `where` of the documents of lengths `spans`."""
        at = torch.cat([torch.arange(n, device=ids.device) for n in spans])
        x = self.model.embed_tokens(ids)
        cos, sin = self.cos[at], self.sin[at]
        if torch.is_autocast_enabled(x.device.type):
            x, cos, sin = x.bfloat16(), cos.bfloat16(), sin.bfloat16()
        for layer in self.model.layers:
            x = layer(x, cos, sin, spans)
        return F.linear(self.model.norm(x[where]), self.model.embed_tokens.weight).float()


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


@torch.no_grad()
def look_back(model):
    """Start with two heads that a small model otherwise needs a billion tokens to find.

    Head 0 of layer 0 attends to the previous token and notes it down; head 0 of layer 1 looks for
    the places whose note is the current token and copies what stands there. (Head 1 of layer 0
    looks two tokens back.)
    """
    c = model.c
    d, width, half = c["head_dim"], c["hidden_size"], c["head_dim"] // 2
    basis = lambda: F.pad(
        torch.linalg.qr(torch.randn(width - 1, d))[0], (0, 0, 1, 0)
    )  # orthonormal columns, blind to channel 0
    read, note, note2, carry = basis(), basis(), basis(), basis()
    model.model.embed_tokens.weight[:, 0] = (
        0.3  # the same for every token: a constant to build positions from
    )
    a, b = model.model.layers[0].self_attn, model.model.layers[1].self_attn
    fast = torch.arange(10)  # rotations quick enough to tell neighbours apart
    theta = c["rope_theta"] ** (-fast / half)
    a.k_proj.weight[fast, 0] = 1.0
    for head in (0, 1):
        a.q_proj.weight[head * d + fast, 0] = torch.cos((head + 1) * theta)
        a.q_proj.weight[head * d + half + fast, 0] = -torch.sin((head + 1) * theta)
    for norm in (a.q_norm, a.k_norm):
        norm.weight[torch.cat((fast, half + fast))] = 2.0
    a.v_proj.weight[:d] = read.T
    a.o_proj.weight[:, :d], a.o_proj.weight[:, d : 2 * d] = 0.15 * note, 0.06 * note2
    slow = torch.cat(
        (torch.arange(40, half), half + torch.arange(40, half))
    )  # rotations too slow to matter
    b.k_proj.weight[:d] *= 0.2
    b.q_proj.weight[:d] *= 0.2
    b.k_proj.weight[slow] = note[:, : len(slow)].T
    b.q_proj.weight[slow] = read[:, : len(slow)].T
    for norm in (b.q_norm, b.k_norm):
        norm.weight[slow] = 2.0
    b.v_proj.weight[:d] = carry.T
    b.o_proj.weight[:, :d] = 0.6 * carry
