"""Trains whisper-micro: `python -m tools.whisper_micro --help`."""

import argparse
from collections.abc import Callable
from pathlib import Path

_NEEDS = "pip install torch transformers scipy, and Stenobus with its extra [stt]"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.whisper_micro", description="Trains whisper-micro; see tools/whisper_micro/README.md."
    )
    parser.add_argument("step", choices=[*_STEPS, "all"], help="in this order; all: the whole chain")
    parser.add_argument("folder", type=Path, help="where the steps leave their files for the next")
    parser.add_argument("--sentences", type=int, default=16_000, help="synth: how many (%(default)s)")
    parser.add_argument("--minutes", type=float, default=120, help="train: how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="synth, train (%(default)s)")
    parser.add_argument("--out", type=Path, help="convert: the model folder (FOLDER/whisper-micro)")
    parser.add_argument("--quantization", choices=["int8", "none"], default="int8", help="convert (%(default)s)")
    args = parser.parse_args()
    args.out = args.out or args.folder / "whisper-micro"
    if args.step in ("convert", "all") and args.out.exists():
        parser.error(f"{args.out} is already there")
    args.folder.mkdir(parents=True, exist_ok=True)
    for step in _STEPS if args.step == "all" else [args.step]:
        try:
            _STEPS[step](args)
        except ModuleNotFoundError as exc:
            parser.exit(1, f"{step} needs {exc.name}, which is not installed: {_NEEDS}\n")
        except OSError as exc:
            parser.exit(1, f"{step}: {exc}\n")


def _synth(args: argparse.Namespace) -> None:
    from tools.whisper_micro.synth import synthesize

    synthesize(args.folder, args.sentences, args.seed)


def _phones(args: argparse.Namespace) -> None:
    from tools.whisper_micro.phones import transcribe

    transcribe(args.folder)


def _tokenizer(args: argparse.Namespace) -> None:
    from tools.whisper_micro.tokenizer import build

    build(args.folder)


def _train(args: argparse.Namespace) -> None:
    from tools.whisper_micro.train import train

    train(args.folder, args.minutes, args.seed)


def _convert(args: argparse.Namespace) -> None:
    from tools.whisper_micro.convert import convert

    convert(args.folder, args.out, args.quantization)


_STEPS: dict[str, Callable[[argparse.Namespace], None]] = {
    "synth": _synth,
    "phones": _phones,
    "tokenizer": _tokenizer,
    "train": _train,
    "convert": _convert,
}

if __name__ == "__main__":
    main()
