"""The closed language that whisper-micro knows: meeting sentences in English and Korean.

A sentence is a template with filled slots. The same tables generate the training text, recognise a sentence and give
its written form. Do not reorder a table: with the same seed it must generate the same text.
"""

import re
from collections.abc import Callable
from random import Random
from typing import NamedTuple


def _words(joined: str) -> list[str]:
    return joined.split("|")


_NAMES = _words("anna|brian|carol|david|emma|frank|grace|henry")
_WEEKDAYS = _words("monday|tuesday|wednesday|thursday|friday|saturday|sunday")
_MONTHS = _words("january|february|march|april|may|june|july|august|september|october|november|december")
_UNITS = _words("zero|one|two|three|four|five|six|seven|eight|nine")
_TEENS = _words("ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen")
_TENS = _words("twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety")
_NUMBERS = _UNITS + _TEENS + _TENS
_KO_WEEKDAYS = _words("월요일|화요일|수요일|목요일|금요일")
_KO_NUMBERS = _words("일|이|삼|사|오|육|칠|팔|구|십")
_KO_POWERS = _words("십|백|천")


class _Slot(NamedTuple):
    draw: Callable[[Random], str]
    pattern: str


def _one_of(words: list[str]) -> _Slot:
    return _Slot(lambda random: random.choice(words), "|".join(words))


def _digits(words: list[str], least: int, most: int) -> _Slot:
    def draw(random: Random) -> str:
        return " ".join(random.choice(words) for _ in range(random.randint(least, most)))

    word = "|".join(words)
    return _Slot(draw, rf"(?:{word})(?: (?:{word})){{{least - 1},{most - 1}}}")


def _number(random: Random) -> str:
    kind = random.random()
    if kind < 0.5:
        return random.choice(_NUMBERS)
    if kind < 0.7:
        return random.choice(_TENS) + " " + random.choice(_UNITS[1:])
    return random.choice(_UNITS[1:]) + (" hundred" if kind < 0.85 else " thousand")


def _ko_amount(random: Random) -> str:
    return random.choice(["", random.choice(_KO_NUMBERS[1:9])]) + random.choice(_KO_POWERS)


def _ko_number(random: Random) -> str:
    return random.choice([*_KO_NUMBERS, _ko_amount(random)])


_KO_AMOUNT_PATTERN = f"(?:{'|'.join(_KO_NUMBERS[1:9])})?(?:{'|'.join(_KO_POWERS)})"

_ENGLISH_SLOTS = {
    "greeting": _one_of(
        _words(
            "good morning everyone|good afternoon everyone|let us start the meeting|can you hear me"
            "|thank you|thank you very much|yes|no|i agree|i disagree|that is a good question|let us move on"
            "|any questions|welcome back|see you next week|the meeting is over|please speak up"
            "|one moment please|that sounds good|hello everyone|goodbye"
        )
    ),
    "noun": _one_of(
        _words("budget|report|design|contract|release|schedule|proposal|website|database|roadmap|invoice|prototype")
    ),
    "state": _one_of(_words("late|ready|done|approved|blocked|cancelled|on track|too expensive|almost finished")),
    "verb": _one_of(_words("send|review|finish|update|present|fix|approve|cancel")),
    "name": _one_of(_NAMES),
    "day": _one_of([*_WEEKDAYS, "tomorrow", "today", "next week", "this afternoon"]),
    "weekday": _one_of(_WEEKDAYS),
    "month": _one_of(_MONTHS),
    "number": _Slot(
        _number,
        f"(?:{'|'.join(_TENS)}) (?:{'|'.join(_UNITS[1:])})|(?:{'|'.join(_UNITS[1:])}) (?:hundred|thousand)"
        f"|{'|'.join(_NUMBERS)}",
    ),
    "hour": _one_of(_NUMBERS[1:13]),
    "time of day": _one_of(_words("in the morning|in the afternoon|in the evening")),
    "digits": _digits(_UNITS, 3, 7),
    "role": _one_of(_words("engineers|days|servers|testers|weeks|designers|customers|dollars")),
    "metric": _one_of(_words("revenue|traffic|cost|latency|profit|the error rate")),
    "direction": _one_of(_words("up|down")),
    "opinion": _one_of(_words("agree|disagree")),
    "whereabouts": _one_of(_words("on vacation|out of office|joining late|in the room|on the phone")),
}

_ENGLISH = [
    "{greeting}",
    "{greeting}",  # twice as likely as the others
    "the {noun} is {state}",
    "{name} will {verb} the {noun} by {day}",
    "we need {number} more {role}",
    "{metric} went {direction} by {number} percent in {month}",
    "action item {name} to {verb} the {noun} before {day}",
    "please {verb} the {noun}",
    "i {opinion} with {name}",
    "the next meeting is on {weekday} at {hour} {time of day}",
    "we decided to {verb} the {noun}",
    "who will {verb} the {noun}",
    "my number is {digits}",
    "{name} asked about the {noun} and the {noun}",
    "the {noun} costs {number} dollars",
    "{name} is {whereabouts} {day}",
]

_KOREAN_SLOTS = {
    "greeting": _one_of(
        _words(
            "안녕하세요|안녕하세요 여러분|회의를 시작하겠습니다|감사합니다|네 알겠습니다|질문 있습니까"
            "|다음 안건입니다|반갑습니다|동의합니다|회의를 마치겠습니다|잠시만요|잘 들립니다"
        )
    ),
    "name": _one_of(_words("김 팀장|이 과장|박 대리|최 부장|정 사원")),
    "day": _one_of([*_KO_WEEKDAYS, "내일", "오늘", "다음 주"]),
    "weekday": _one_of(_KO_WEEKDAYS),
    "noun": _one_of(_words("예산|보고서|디자인|계약|일정|제안서|홈페이지|회의록")),
    "verb": _one_of(_words("검토|수정|발표|승인|취소|완료|공유")),
    "number": _Slot(_ko_number, f"{'|'.join(_KO_NUMBERS)}|{_KO_AMOUNT_PATTERN}"),
    "amount": _Slot(_ko_amount, _KO_AMOUNT_PATTERN),
    "direction": _one_of(_words("증가했습니다|감소했습니다")),
    "digits": _digits(_KO_NUMBERS[:9], 3, 6),
}

_KOREAN = [
    "{greeting}",
    "{greeting}",
    "{name}님이 {day}까지 {noun} {verb} 바랍니다",
    "{noun} {verb} 되었습니다",
    "{noun} {verb} 부탁드립니다",
    "매출이 {number} 퍼센트 {direction}",
    "다음 회의는 {weekday} 입니다",
    "{name}님 {noun} 어떻게 되었습니까",
    "전화번호는 {digits} 입니다",
    "{noun} 비용은 {amount}만 원입니다",
]

_LANGUAGES = {"en": (_ENGLISH, _ENGLISH_SLOTS), "ko": (_KOREAN, _KOREAN_SLOTS)}
_SLOT = re.compile(r"{([^}]*)}")
_CAPITALISED = {*_NAMES, *_WEEKDAYS, *_MONTHS, "i"}


def sentence(language: str, random: Random) -> str:
    """A random sentence ("en" or "ko") as it is spoken: lower case, no punctuation."""
    templates, slots = _LANGUAGES[language]
    return _SLOT.sub(lambda slot: slots[slot[1]].draw(random), random.choice(templates))


def accepts(spoken: str, language: str) -> bool:
    """Whether the grammar can generate the sentence."""
    templates, slots = _LANGUAGES[language]
    patterns = (_SLOT.sub(lambda slot: f"(?:{slots[slot[1]].pattern})", template) for template in templates)
    return any(re.fullmatch(pattern, spoken) for pattern in patterns)


def written(spoken: str, language: str) -> str:
    """The sentence as whisper-micro writes it: capitals, and a full stop or a question mark."""
    if language == "ko":
        return spoken + ("?" if spoken.endswith("까") else ".")
    words = [word.capitalize() if word in _CAPITALISED else word for word in spoken.split()]
    is_question = words[0] in ("who", "can") or spoken == "any questions"
    text = " ".join(words)
    return text[0].upper() + text[1:] + ("?" if is_question else ".")


def spoken(text: str) -> str:
    """The inverse of `written`."""
    return text.rstrip(".?").lower()
