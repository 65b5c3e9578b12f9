"""Step 5: the checkpoint as a CTranslate2 folder, which faster-whisper loads like any other Whisper."""

import json
import shutil
from pathlib import Path

import torch
from ctranslate2.converters.transformers import WhisperLoader
from transformers import WhisperConfig, WhisperForConditionalGeneration

from tools.whisper_micro import tokenizer
from tools.whisper_micro.train import SHAPE

_EMPTY = tokenizer.TEXT - 1


def convert(folder: Path, out: Path, quantization: str) -> None:
    """Read checkpoint.pt and tokenizer.json of the folder; write a model folder. quantization: "int8" or "none"."""
    tokens = tokenizer.load(folder)
    vocabulary = [tokens.id_to_token(number) for number in range(tokenizer.SIZE)]
    vocabulary[_EMPTY] = ""  # CTranslate2 tells a multilingual Whisper by this
    spec = WhisperLoader().get_model_spec(_model(folder))
    spec.register_vocabulary(vocabulary)
    layer, heads = SHAPE["decoder_layers"] - 1, SHAPE["decoder_attention_heads"]
    first = tokens.token_to_id("<|en|>")
    spec.config.alignment_heads = [(layer, head) for head in range(heads)]
    spec.config.lang_ids = list(range(first, tokens.token_to_id("<|translate|>")))
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [tokens.token_to_id("Ġ"), tokens.token_to_id("<|endoftext|>")]
    spec.validate()
    spec.optimize(quantization=None if quantization == "none" else quantization)
    out.mkdir(parents=True)
    spec.save(str(out))
    shutil.copy(folder / "tokenizer.json", out)
    features = {"feature_size": 80, "sampling_rate": 16_000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
    (out / "preprocessor_config.json").write_text(json.dumps(features))
    print(f"{out}: {sum(file.stat().st_size for file in out.iterdir()) / 1e6:.1f} MB")


def _model(folder: Path) -> WhisperForConditionalGeneration:
    """The trained model with all rows of Whisper's vocabulary; those never used are 0."""
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    end, start = tokenizer.TEXT, tokenizer.TEXT + 1
    config = WhisperConfig(
        vocab_size=tokenizer.SIZE,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **SHAPE,
    )
    weights = checkpoint["model"]
    embedding = torch.zeros(tokenizer.SIZE, SHAPE["d_model"])
    embedding[torch.tensor(checkpoint["used"])] = weights["model.decoder.embed_tokens.weight"]
    weights["model.decoder.embed_tokens.weight"] = weights["proj_out.weight"] = embedding
    model = WhisperForConditionalGeneration(config)
    model.load_state_dict(weights)
    return model
