"""Step 4: train, with a curriculum over the time spent: short clean windows, then noise, then whole windows of 30 s.

An auxiliary CTC loss on phonemes makes the encoder learn in minutes what attention alone had not begun to learn in
1,000 steps.
"""

import json
import math
import queue
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its customary name
from numpy.random import Generator
from tokenizers import Tokenizer
from torch import Tensor
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.audio_utils import mel_filter_bank

from tools.whisper_micro import corpus, tokenizer
from tools.whisper_micro.grammar import written
from tools.whisper_micro.mixing import Example, Mixer

SHAPE = {
    "num_mel_bins": 80,
    "d_model": 160,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 5,
    "decoder_attention_heads": 5,
    "encoder_ffn_dim": 640,
    "decoder_ffn_dim": 640,
}
_DROPOUT = 0.05
_PEAK_RATE = 2e-3
_NOT_A_TARGET = -100


class Batch(NamedTuple):
    mel: Tensor  # (windows, 80, frames)
    tokens: Tensor  # (windows, length): input of the decoder
    targets: Tensor  # (windows, length): the next token, _NOT_A_TARGET elsewhere
    phones: list[list[int]]
    heard: list[int]  # encoder frames that contain audio


class Losses(NamedTuple):
    attention: Tensor
    ctc: Tensor | None


def train(folder: Path, minutes: float, seed: int) -> None:
    """Read train.npz, phones.json and tokenizer.json; write checkpoint.pt."""
    torch.manual_seed(seed)
    tokens = tokenizer.load(folder)
    special = tokenizer.specials(tokens)
    used = [*range(tokenizer.text_tokens(tokens)), special.end, special.start, *special.languages.values()]
    used += [special.transcribe, special.previous, special.no_speech, special.no_timestamps, *special.timestamps]
    phones = json.loads((folder / "phones.json").read_text("utf-8"))
    model = WhisperForConditionalGeneration(_config(len(used)))
    ctc = torch.nn.Linear(SHAPE["d_model"], len(phones["inventory"]) + 1)
    parameters = [parameter for part in (model, ctc) for parameter in part.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=_PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    print(f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f} M parameters", flush=True)

    clock = _Clock(minutes)
    batches = _Loader(_mixer(folder, tokens, phones["phones"]), used, clock, seed)
    model.train()
    step = 0
    while (progress := clock.progress()) < 1:
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, progress)
        losses = _losses(model, ctc, batches.next(), unused=tokenizer.SIZE - len(used))
        loss = losses.attention
        if losses.ctc is not None:
            loss = loss + (1.0 if progress < 0.25 else 0.3) * losses.ctc
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 50 == 0:
            ctc_loss = "-" if losses.ctc is None else f"{losses.ctc.item():.3f}"
            print(f"{progress:4.0%} step {step} attention {losses.attention.item():.3f} ctc {ctc_loss}", flush=True)
        if step % 500 == 0:
            _save(folder, model, used)
    _save(folder, model, used)


def _config(vocabulary: int) -> WhisperConfig:
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 1}
    return WhisperConfig(
        vocab_size=vocabulary,
        dropout=_DROPOUT,
        attention_dropout=0.0,
        attn_implementation="sdpa",
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **SHAPE,
        **ids,
    )


def _mixer(folder: Path, tokens: Tokenizer, phones: dict[str, list[int]]) -> Mixer:
    utterances = corpus.load(folder / "train.npz")
    texts = (" " + written(utterance.spoken, utterance.language) for utterance in utterances)
    encoded = [tokens.encode(text, add_special_tokens=False).ids for text in texts]
    return Mixer(
        utterances, encoded, [phones[utterance.spoken] for utterance in utterances], tokenizer.specials(tokens)
    )


def _rate(step: int, progress: float) -> float:
    """Learning rate: linear warm-up over 300 steps, cosine to 2 % over the whole time."""
    warm_up = min(1.0, (step + 1) / 300)
    return _PEAK_RATE * warm_up * (0.98 * 0.5 * (1 + math.cos(math.pi * progress)) + 0.02)


def _losses(model: WhisperForConditionalGeneration, ctc: torch.nn.Linear, batch: Batch, unused: int) -> Losses:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        heard = _encode(model, batch.mel)
        said = model.model.decoder(input_ids=batch.tokens, encoder_hidden_states=heard).last_hidden_state
        logits = model.proj_out(said)
    logits = logits.float()
    # The tokens that are never used have embedding 0, so logit 0: together one class with a constant logit.
    total = torch.logaddexp(torch.logsumexp(logits, -1), torch.tensor(math.log(unused)))
    is_target = batch.targets != _NOT_A_TARGET
    chosen = logits.gather(-1, batch.targets.clamp(min=0)[..., None])[..., 0]
    attention = ((total - chosen) * is_target).sum() / is_target.sum()
    # CTC needs more frames than phonemes, and clearly more to have a choice.
    rows = [row for row, line in enumerate(batch.phones) if line and batch.heard[row] > 2 * len(line)]
    if not rows:
        return Losses(attention, None)
    probabilities = F.log_softmax(ctc(heard[rows].float()), -1).transpose(0, 1)
    return Losses(
        attention,
        F.ctc_loss(
            probabilities,
            torch.tensor([phone for row in rows for phone in batch.phones[row]]),
            torch.full((len(rows),), heard.shape[1]),
            torch.tensor([len(batch.phones[row]) for row in rows]),
            blank=ctc.out_features - 1,
            zero_infinity=True,
        ),
    )


def _encode(model: WhisperForConditionalGeneration, mel: Tensor) -> Tensor:
    """Whisper's encoder, but for windows of any length up to 30 s."""
    encoder = model.model.encoder
    hidden = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).transpose(1, 2)
    hidden = F.dropout(hidden + encoder.embed_positions.weight[: hidden.shape[1]], _DROPOUT, model.training)
    for layer in encoder.layers:
        out = layer(hidden, attention_mask=None)
        hidden = out[0] if isinstance(out, tuple) else out
    return encoder.layer_norm(hidden)


def _save(folder: Path, model: WhisperForConditionalGeneration, used: list[int]) -> None:
    torch.save({"model": model.state_dict(), "used": used}, folder / "checkpoint.pt")


class _Clock:
    def __init__(self, minutes: float) -> None:
        self._start, self._seconds = time.monotonic(), minutes * 60

    def progress(self) -> float:
        return (time.monotonic() - self._start) / self._seconds


class _Loader:
    """Mixes the next windows in a thread while the model trains."""

    def __init__(self, mixer: Mixer, used: list[int], clock: _Clock, seed: int) -> None:
        self._mixer, self._clock = mixer, clock
        self._row = {token: row for row, token in enumerate(used)}
        self._random = np.random.default_rng(seed)
        filters = mel_filter_bank(201, 80, 0.0, 8_000.0, 16_000, norm="slaney", mel_scale="slaney")
        self._filters = torch.tensor(filters.T, dtype=torch.float32)
        self._window = torch.hann_window(400)
        self._queue: queue.Queue[Batch | Exception] = queue.Queue(6)
        threading.Thread(target=self._run, daemon=True).start()

    def next(self) -> Batch:
        batch = self._queue.get()
        if isinstance(batch, Exception):
            raise batch
        return batch

    def _run(self) -> None:
        try:
            while True:
                self._queue.put(self._batch(self._clock.progress()))
        except Exception as exc:  # noqa: BLE001 - raised in the training thread
            self._queue.put(exc)

    def _batch(self, progress: float) -> Batch:
        seconds, windows = _size(self._random, progress)
        examples = [self._mixer.window(self._random, seconds, progress) for _ in range(windows)]
        mel = torch.zeros(windows, 80, seconds * 100)
        for row, example in enumerate(examples):
            features = self._log_mel(torch.from_numpy(np.ascontiguousarray(example.sound)))[:, : seconds * 100]
            mel[row, :, : features.shape[1]] = features
            if progress > 0.2 and self._random.random() < 0.5:  # a little SpecAugment
                band = self._random.integers(0, 70)
                mel[row, band : band + self._random.integers(1, 9)] = mel[row].mean()
        tokens, targets = self._decoder_rows(examples)
        heard = [min(len(example.sound) // 320, seconds * 50) for example in examples]
        return Batch(mel, tokens, targets, [example.phones for example in examples], heard)

    def _decoder_rows(self, examples: list[Example]) -> tuple[Tensor, Tensor]:
        length = max(len(example.tokens) for example in examples) - 1
        tokens = torch.zeros((len(examples), length), dtype=torch.long)
        targets = torch.full((len(examples), length), _NOT_A_TARGET)
        for row, example in enumerate(examples):
            ids = torch.tensor([self._row[token] for token in example.tokens])
            tokens[row, : len(ids) - 1] = ids[:-1]
            targets[row, example.given - 1 : len(ids) - 1] = ids[example.given :]
        return tokens, targets

    def _log_mel(self, sound: Tensor) -> Tensor:
        """Whisper's features: (80, frames), 10 ms a frame."""
        spectrum = torch.stft(F.pad(sound, (0, 160)), 400, 160, window=self._window, return_complex=True)
        power = self._filters @ (spectrum[..., :-1].abs() ** 2)
        log = torch.log10(torch.clamp(power, min=1e-10))
        return (torch.maximum(log, log.max() - 8) + 4) / 4


def _size(random: Generator, progress: float) -> tuple[int, int]:
    """Seconds of a window and windows of a batch: the curriculum."""
    at = random.random()
    if progress < 0.12:
        return 4, 16
    if progress < 0.27:
        return (4, 20) if at < 0.6 else (8, 12)
    if progress < 0.55:
        return (5, 20) if at < 0.5 else (12, 10) if at < 0.85 else (30, 5)
    return (6, 20) if at < 0.12 else (12, 10) if at < 0.25 else (30, 6)
