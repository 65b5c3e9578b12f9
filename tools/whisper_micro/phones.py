"""Step 2: the phonemes of each sentence, for the auxiliary CTC loss."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.whisper_micro import corpus
from tools.whisper_micro.voice import phonemes


def transcribe(folder: Path) -> None:
    """Read train.npz, write phones.json: {"inventory": [phone], "phones": {spoken: [index of phone]}}."""
    sentences = sorted({(utterance.spoken, utterance.language) for utterance in corpus.load(folder / "train.npz")})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        phones = list(pool.map(lambda sentence: phonemes(*sentence), sentences))
    inventory = sorted({phone for line in phones for phone in line})
    index = {phone: number for number, phone in enumerate(inventory)}
    table = {spoken: [index[phone] for phone in line] for (spoken, _), line in zip(sentences, phones, strict=True)}
    (folder / "phones.json").write_text(
        json.dumps({"inventory": inventory, "phones": table}, ensure_ascii=False), "utf-8"
    )
    print(f"{len(inventory)} phonemes in {len(sentences)} different sentences")
